#include "dicom/deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

struct deflate {
    z_stream s;
    bool     inflates;
};

/* Negative window bits: no zlib header and no checksum. */
enum { RAW_WINDOW = -MAX_WBITS, MEMORY_LEVEL = 8 };

static struct deflate *start(bool inflates)
{
    struct deflate *z = calloc(1, sizeof(*z));
    if (z == NULL) {
        return NULL;
    }
    z->inflates = inflates;
    int rc = inflates ? inflateInit2(&z->s, RAW_WINDOW)
                      : deflateInit2(&z->s, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW_WINDOW,
                                     MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    if (rc != Z_OK) {
        free(z);
        return NULL;
    }
    return z;
}

struct deflate *deflate_new(void)
{
    return start(false);
}

struct deflate *inflate_new(void)
{
    return start(true);
}

void deflate_free(struct deflate *z)
{
    if (z == NULL) {
        return;
    }
    (void)(z->inflates ? inflateEnd(&z->s) : deflateEnd(&z->s));
    free(z);
}

static uInt clamp(size_t n)
{
    return n > UINT_MAX ? UINT_MAX : (uInt)n;
}

enum err deflate_run(struct deflate *z, struct deflate_io *io, struct errmsg *e)
{
    uInt fed = clamp(io->in.len), space = clamp(io->room);
    z->s.next_in = (Bytef *)io->in.ptr; // zlib's interface forgot the const
    z->s.avail_in = fed;
    z->s.next_out = io->out;
    z->s.avail_out = space;
    bool finish = io->finish && fed == io->in.len;
    int  rc =
        z->inflates ? inflate(&z->s, Z_NO_FLUSH) : deflate(&z->s, finish ? Z_FINISH : Z_NO_FLUSH);
    if (rc == Z_MEM_ERROR) {
        return err_set(e, ERR_NOMEM, "no memory to inflate");
    }
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
        return err_set(e, ERR_SYNTAX, "deflated data set is damaged after %lu bytes",
                       z->s.total_in);
    }
    size_t taken = fed - z->s.avail_in;
    io->in = (struct bytes){io->in.len > 0 ? io->in.ptr + taken : io->in.ptr, io->in.len - taken};
    io->n = space - z->s.avail_out;
    io->end = rc == Z_STREAM_END;
    return ERR_OK;
}
