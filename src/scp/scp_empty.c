/* replaced by the module's first file */ int scp_empty;
