#pragma once
/*
 * The Native DICOM Model in XML, PS3.19 annex A.1, both ways; PS3.18 calls it
 * application/dicom+xml.
 *
 * Options and bulk data are those of dicom/json.h.  Private attributes are written as the model
 * wants: their block is not said, but their creator (gggg00ee and privateCreator); read back they
 * get the first free block.  Characters that XML 1.0 cannot hold (form feed and other controls)
 * become U+FFFD.
 */
#include "dicom/json.h"

/* One document <NativeDicomModel>…; texts in UTF-8.  ERR_LIMIT as dsjson_write. */
enum err dsxml_write(const struct dset *d, const struct json_opts *o, struct buf *out,
                     struct errmsg *e) MUST_USE;
/*
 * One document, by libxml2's SAX parser: no DTD (so no entities but the five of XML), nothing is
 * fetched, no XInclude; depth and sizes are bounded.  The data set is in ISO_IR 192; BulkData
 * become left-out elements whose value is the URI.  ERR_SYNTAX with the line; ERR_LIMIT.
 */
enum err dsxml_parse(struct bytes xml, struct arena *a, struct dset **ret,
                     struct errmsg *e) MUST_USE;
