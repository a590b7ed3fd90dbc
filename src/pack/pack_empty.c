/* replaced by the module's first file */ int pack_empty;
