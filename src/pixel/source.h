#pragma once
/*
 * An object whose pixels are wanted: its attributes read, its frames found, one frame at a time.
 * Deflated and big endian data sets are turned into explicit little endian first, in a temporary
 * file.  One thread; the caller's source must live as long.
 */
#include "dicom/frames.h"
#include "pixel/worker.h"

struct spool { // a temporary file without a name, gone with its descriptor
    int      fd;
    uint64_t len;
};

enum err    spool_open(struct spool *s, struct errmsg *e);
void        spool_done(struct spool *s);                              // also the cleanup function
enum err    spool_add(void *spool, struct bytes b, struct errmsg *e); // a convert_sink
struct dsrc spool_src(struct spool *s);                               // *s must live as long

struct source {
    struct dsrc                src;
    const struct syntax       *syntax; // that src is in
    const struct codec_syntax *codec;
    struct arena               arena;
    struct dset               *dset; // long values left out
    struct image               image;
    struct frames              frames;
    struct spool               spool;
    struct buf                 stream; // of a frame, fragments joined
};

/* ERR_NOTFOUND: no pixels in it, or no attributes that describe them;
 * ERR_UNSUPPORTED: a syntax or frames that we cannot take apart.  source_done in any case. */
enum err source_open(struct source *s, const struct dsrc *src, struct str syntax_uid,
                     struct errmsg *e) MUST_USE;
void     source_done(struct source *s);

/* The frame as it lies, fragments joined, in s->stream; 1-bit frames begin at the first bit. */
enum err source_stream(struct source *s, uint32_t frame, struct bytes *ret,
                       struct errmsg *e) MUST_USE;
/* The native frame: appended. */
enum err source_native(struct source *s, struct pixel_pool *p, uint32_t frame, struct image *ret,
                       struct buf *out, struct errmsg *e) MUST_USE;
