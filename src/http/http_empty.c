/* replaced by the module's first file */ int http_empty;
