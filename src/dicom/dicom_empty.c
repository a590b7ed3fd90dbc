/* replaced by the module's first file */ int dicom_empty;
