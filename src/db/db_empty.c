/* replaced by the module's first file */ int db_empty;
