#pragma once
/*
 * The DICOM JSON model of the images of a pack: what metadata.json.gz holds, and what is written on
 * the fly for images that are not sealed yet, with the same bytes.
 *
 * BulkDataURIs are "series/<series>/instances/<sop>/bulkdata/<path>": relative to the study, the
 * URL that all metadata of PS3.18 10.4.1.1.2 begins with.
 *
 * The gzip member is made so that several can be sent as one without being compressed again: the
 * brackets of the array are stored blocks of their own, and what lies between them ends at a whole
 * byte.  RFC 1951 3.2.4, RFC 1952.
 */
#include "dicom/dset.h"
#include "pack/pack.h"

enum { MODEL_VALUE = 4 << 10 }; // longer values become bulk data

struct model_of {
    struct str study_uid, series_uid, sop_uid, class_uid;
};

/* Data set of a PS3.10 file without values longer than MODEL_VALUE.  *ret NULL: it cannot be
 * parsed, which is no reason not to keep it; then *ret_syntax is NULL as well. */
enum err model_read(const struct dsrc *file, struct arena *a, const struct syntax **ret_syntax,
                    struct dset **ret, struct errmsg *e) MUST_USE;
/* One object appended to the buffer of out.  d NULL, or too large or deep for JSON: its UIDs alone.
 * prefix of bulk data, NULL: as above. */
enum err model_write(const struct model_of *of, const struct dset *d, const struct str *prefix,
                     struct buf *out, struct errmsg *e) MUST_USE;

/* ---- the gzip member, in parts */
enum { MODEL_HEAD = 10 + 6, MODEL_TAIL = 6 + 8, MODEL_COMMA = 6 };

extern const uint8_t model_head[MODEL_HEAD];   // gzip header, "["
extern const uint8_t model_comma[MODEL_COMMA]; // ","

/* What lies between the brackets: deflated bytes that end at a whole byte, and of their text. */
struct model_body {
    uint64_t deflated, plain;
    uint32_t crc;
};

/* "]" and the gzip trailer of a member with these bodies, commas between them. */
void model_tail(const struct model_body *v, size_t n, uint8_t ret[MODEL_TAIL]);
/* From the ends of a member of len bytes.  False: it was not made this way. */
bool model_body_of(const uint8_t head[MODEL_HEAD], const uint8_t tail[MODEL_TAIL], uint64_t len,
                   struct model_body *ret);
