#pragma once
/*
 * The DICOM JSON model, PS3.18 annex F, both ways.
 */
#include "base/jsonw.h"
#include "dicom/dset.h"

struct json_opts {
    /* BulkDataURI for left-out values and for binary values longer than inline_max: prefix + path
     * to the element
     * ("7FE00010", "00409096/2/0040A730").  Empty prefix: long values are left out of the answer
     * silently. */
    struct str bulk_prefix;
    uint32_t   inline_max;   // binary values up to this many bytes are InlineBinary; 0: 256
    bool       group_length; // keep (gggg,0000)
};

/* One object {"00080005":{"vr":"CS","Value":["ISO_IR 192"]},…}; texts in UTF-8, (0008,0005)
 * rewritten to ISO_IR 192 when the data set has texts outside ASCII. */
enum err dsjson_write(const struct dset *d, const struct json_opts *o, struct jsonw *w,
                      struct errmsg *e) MUST_USE;
/* One object.  Own bounded parser: depth, arena.  The data set is in ISO_IR 192.  BulkDataURI
 * members become empty left-out elements. */
enum err dsjson_parse(struct str json, struct arena *a, struct dset **ret,
                      struct errmsg *e) MUST_USE;
