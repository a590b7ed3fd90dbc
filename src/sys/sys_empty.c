/* replaced by the module's first file */ int sys_empty;
