/* replaced by the module's first file */ int archive_empty;
