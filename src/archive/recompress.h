#pragma once
/*
 * Recompression at sealing, by the tenant's policy: uncompressed images of an open pack become
 * HTJ2K (RPCL, lossless), each one only after pixel/prove.h has found it equal.  What is compressed
 * already, signed, or does not come out equal or smaller stays byte for byte as it is.
 *
 * An image that was rewritten says in its file meta information what it was: (0002,0102), JSON
 *   {"original":{"syntax":…,"size":…,"sha256":…}}
 * of the data set as it was received, so that the same one sent again is still a duplicate.
 */
#include "archive/archive_priv.h"

/* *p is another open pack of the same images afterwards, or as it was (errors too). */
enum err recompress(struct archive *a, struct pack **p, uint64_t *ret_images, struct errmsg *e);

struct original {
    char     syntax_uid[65], sha256[65];
    uint64_t size; // of the data set
};

/* Of a stored file.  ERR_NOTFOUND: it is as it was received. */
enum err original_of(const struct object_file *f, struct original *ret, struct errmsg *e);
