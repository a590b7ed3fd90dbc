#pragma once
/*
 * Re-encode a data set between implicit little, explicit little, explicit big endian and deflated,
 * streaming: constant memory for any size.  Pixel data and all other values are kept; encapsulated
 * pixel data cannot become native here (the codec modules do that).  PS3.5 sections 7 and A.
 *
 * Where only deflation differs the bytes are passed on as they are.  Otherwise every leniency but
 * LENIENT_SHORT_PIXELS is allowed, sequences and items get undefined lengths, odd values are padded
 * and group lengths are dropped.
 */
#include "dicom/dset.h"

typedef enum err convert_sink(void *ctx, struct bytes piece, struct errmsg *e);

/* Between the four uncompressed syntaxes, or when it is the same. */
bool     is_convertible(const struct syntax *from, const struct syntax *to);
/* ERR_UNSUPPORTED: not convertible (of data sets without pixel data in fragments more are than
 * is_convertible tells); ERR_SYNTAX: the data set is broken or cut short.  Errors of the source and
 * the sink pass through; the sink may have got a part then. */
enum err convert_stream(const struct dsrc *src, uint64_t at, const struct syntax *from,
                        const struct syntax *to, convert_sink *sink, void *ctx,
                        struct errmsg *e) MUST_USE;

/*
 * The same with changes at the top level, for those who rewrite pixels.  Other data sets than pixel
 * data in fragments may be written in any syntax.
 */
struct conv;

struct convert_edit {
    const struct dset *put;  // elements that replace those of the same tag, or are new.  No
                             // sequences; NULL: none
    const uint32_t    *drop; // elements and sequences that are left out
    size_t             n_drop;
    /* Called once, where the pixel data lie (7FE0,0008 to 0010); the old ones are left out. */
    enum err (*pixels)(void *ctx, struct conv *c, struct errmsg *e);
    void *ctx;
};

struct convert_task {
    const struct dsrc         *src;
    uint64_t                   at;
    const struct syntax       *from, *to;
    const struct convert_edit *edit; // NULL: none
    convert_sink              *sink;
    void                      *ctx;
};

enum err convert_run(const struct convert_task *j, struct errmsg *e) MUST_USE;

/* For pixels(): a header (length UINT32_MAX: undefined), an item or delimiter (FFFE,xxxx), and
 * bytes, little endian units that are turned where the syntax wants it. */
enum err convert_head(struct conv *c, uint32_t tag, enum vr vr, uint32_t len,
                      struct errmsg *e) MUST_USE;
enum err convert_delim(struct conv *c, uint32_t tag, uint32_t len, struct errmsg *e) MUST_USE;
enum err convert_bytes(struct conv *c, struct bytes b, size_t unit, struct errmsg *e) MUST_USE;
