#pragma once
/*
 * The DICOM JSON model, PS3.18 annex F, both ways.
 *
 * Written so that nothing is lost: numbers of IS, DS, SV and UV that a double would not hold
 * exactly, and texts of IS and DS that are no numbers, are strings (F.2.3 allows it); numeric
 * values with a broken length are InlineBinary; FL and FD that are not finite are the strings
 * "NaN", "Infinity" and "-Infinity".  All of these are read back.
 */
#include "base/jsonw.h"
#include "dicom/dset.h"

struct json_opts {
    /* BulkDataURI for left-out values, encapsulated pixel data and binary values longer than
     * inline_max: prefix + path to the element ("7FE00010", "00409096/2/0040A730": the second
     * item).  Empty prefix: long values are left out of the answer silently. */
    struct str bulk_prefix;
    uint32_t   inline_max;   // binary values up to this many bytes are InlineBinary; 0: 256
    bool       group_length; // keep (gggg,0000)
};

/* One object {"00080005":{"vr":"CS","Value":["ISO_IR 192"]},…}; texts in UTF-8, (0008,0005)
 * rewritten to ISO_IR 192 when the data set has texts outside ASCII.  ERR_LIMIT: the buffer of w is
 * full, or items nest too deep. */
enum err dsjson_write(const struct dset *d, const struct json_opts *o, struct jsonw *w,
                      struct errmsg *e) MUST_USE;
/* One object.  Own bounded parser: depth, arena.  The data set is in ISO_IR 192.  BulkDataURI
 * members become left-out elements whose value is the URI.  ERR_SYNTAX with the place in the text.
 */
enum err dsjson_parse(struct str json, struct arena *a, struct dset **ret,
                      struct errmsg *e) MUST_USE;
/* An array of objects, or one object alone; the array of pointers is in the arena. */
enum err dsjson_parse_list(struct str json, struct arena *a, struct dset ***ret, size_t *ret_n,
                           struct errmsg *e) MUST_USE;
