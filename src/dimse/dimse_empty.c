/* replaced by the module's first file */ int dimse_empty;
