#pragma once
/*
 * Codecs and rendering behind a wall: a pool of garonne-pixel processes under seccomp, no files, no
 * network, memory and CPU limits; buffers in shared memory (memfd).  DESIGN section 7.
 *
 * A call takes an idle worker, waits at most LIMIT_PIXEL_MS for it to finish one frame, and kills
 * it when it does not.  A crash or a kill costs that frame (ERR_SYNTAX, "the decoder crashed"): a
 * new worker is started, and it is counted.  Any thread; blocking.
 *
 * To add an operation besides the codecs: worker_wire.h says how.
 */
#include "base/buf.h"
#include "pixel/codec.h"

struct pixel_pool;

struct pixel_conf {
    const char *program;  // of the worker; NULL: garonne-pixel beside the running executable
    unsigned    workers;  // 0: one for each processor
    int64_t     frame_ms; // 0: LIMIT_PIXEL_MS
};

enum err pixel_pool_new(const struct pixel_conf *c, struct pixel_pool **ret,
                        struct errmsg *e) MUST_USE;
void     pixel_pool_free(struct pixel_pool *p);

/* As codec_decode and codec_encode, in a worker. */
enum err pixel_decode(struct pixel_pool *p, struct str syntax_uid, const struct image *said,
                      struct bytes stream, uint32_t reduce, struct image *ret, struct buf *out,
                      struct errmsg *e) MUST_USE;
enum err pixel_encode(struct pixel_pool *p, struct str syntax_uid, const struct image *i,
                      struct bytes pixels, const struct codec_opts *o, struct image *ret,
                      struct buf *out, struct errmsg *e) MUST_USE;

struct pixel_stats {
    uint64_t frames, failed, crashed, timeouts;
    unsigned workers;
};

void pixel_get_stats(struct pixel_pool *p, struct pixel_stats *ret);
