#pragma once
/*
 * The tokenizer with its windows: reads a source (a file, a member of a pack, bytes), inflates
 * deflated syntaxes, jumps over values that are skipped.  One window of memory (64 KiB, heap), two
 * when deflated.  One thread at a time; the source must live as long.
 */
#include "base/buf.h"
#include "dicom/deflate.h"
#include "dicom/dsread.h"

struct dspull {
    struct dsread   r; // options and results: r.lenient, r.seen
    struct dsrc     src;
    struct buf      window;
    struct deflate *z;       // deflated syntaxes only
    struct buf      packed;  // window of the compressed bytes
    struct bytes    rest;    // of packed, not inflated yet
    uint64_t        at;      // source offset of the next compressed byte
    bool            torn;    // the source ended before the deflated stream did
    bool            grown;   // windows are full size: the reader goes straight on
    bool            no_jump; // a jump went past the end of a source of unknown size
};

/* at: source offset of the data set.  Token offsets are source offsets; of a deflated data set:
 * offsets in the inflated stream. */
enum err dspull_init(struct dspull *p, const struct dsrc *src, uint64_t at, const struct syntax *s,
                     unsigned lenient, struct errmsg *e) MUST_USE;
void     dspull_done(struct dspull *p); // also the cleanup function, fine after a failed init

/* As dsread_next.  ERR_MORE: the source ends inside the data set (text says where). */
enum err dspull_next(struct dspull *p, struct ds_token *ret, struct errmsg *e) MUST_USE;

/* The next bytes of the data set as they are (inflated), empty at the end; not to be mixed with
 * dspull_next.  ERR_SYNTAX: a deflated stream is cut short. */
enum err dspull_raw(struct dspull *p, struct bytes *ret, struct errmsg *e) MUST_USE;
