/* replaced by the module's first file */ int index_empty;
