#pragma once
/*
 * Raw deflate (RFC 1951) as a stream, both ways: what the deflated transfer syntaxes want (PS3.5
 * A.5).  The one place that knows zlib.  Owned by the caller; one thread at a time.
 */
#include "base/err.h"
#include "base/slice.h"

struct deflate;

struct deflate *deflate_new(void);               // compresses; NULL when out of memory
struct deflate *inflate_new(void);               // expands; NULL when out of memory
void            deflate_free(struct deflate *z); // either; NULL is fine

/* One step: what goes in and what came out. */
struct deflate_io {
    struct bytes in;     // moved on by what was taken
    bool         finish; // no input comes after it
    uint8_t     *out;
    size_t       room; // at out
    size_t       n;    // written there
    bool         end;  // the compressed stream is over
};

/* A step that neither takes nor gives wants more of the one or the other.  ERR_SYNTAX: not deflate
 * data. */
enum err deflate_run(struct deflate *z, struct deflate_io *io, struct errmsg *e) MUST_USE;
