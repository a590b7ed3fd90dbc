#include "pixel/source.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "dicom/convert.h"
#include "dicom/tags.h"
#include "sys/file.h"

/* ---- temporary file */

enum err spool_open(struct spool *s, struct errmsg *e)
{
    *s = (struct spool){.fd = -1};
    return file_open(P_tmpdir, O_TMPFILE | O_RDWR, 0600, &s->fd, e);
}

void spool_done(struct spool *s)
{
    file_close(&s->fd);
}

enum err spool_add(void *spool, struct bytes b, struct errmsg *e)
{
    struct spool *s = spool;
    enum err      rc = file_write_at(s->fd, s->len, b, e);
    s->len += rc == ERR_OK ? b.len : 0;
    return rc;
}

static enum err spool_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                           struct errmsg *e)
{
    const struct spool *s = ctx;
    return file_read_at(s->fd, at, to, n, ret_n, e);
}

struct dsrc spool_src(struct spool *s)
{
    return (struct dsrc){.read = spool_read, .ctx = s, .size = s->len};
}

/* ---- the object */

static enum err read_dset(struct source *s, unsigned *ret_seen, struct errmsg *e)
{
    struct parse_opts o = {.lenient = LENIENT_ALL & ~(unsigned)LENIENT_SHORT_PIXELS};
    enum err          rc = dset_read(&s->src, 0, s->syntax, &o, &s->arena, &s->dset, e);
    *ret_seen = o.seen;
    if (rc == ERR_MORE) { // a whole source has no more to give
        if (e != NULL) {
            e->code = ERR_SYNTAX;
        }
        return ERR_SYNTAX;
    }
    return rc;
}

/* Frames must lie in the source as they are, in our byte order. */
static enum err straighten(struct source *s, struct errmsg *e)
{
    const struct syntax *to = &SYNTAX_EXPLICIT;
    enum err             rc = spool_open(&s->spool, e);
    rc = rc == ERR_OK ? convert_stream(&s->src, 0, s->syntax, to, spool_add, &s->spool, e) : rc;
    s->src = spool_src(&s->spool);
    s->syntax = to;
    return rc;
}

static enum err check_frames(const struct source *s, uint32_t frames, struct errmsg *e)
{
    size_t   want = 0;
    enum err rc = image_bytes(&s->image, &want, e);
    if (rc == ERR_OK && s->frames.n != frames) {
        return err_set(e, ERR_SYNTAX, "%zu frames in the pixel data instead of %" PRIu32,
                       s->frames.n, frames);
    }
    for (size_t i = 0; rc == ERR_OK && i < s->frames.n; i++) {
        const struct frame *f = &s->frames.v[i];
        uint64_t            most = s->image.allocated == 1 ? want + 1 : want; // bits lie across
        if (f->fragments == 0 && (f->len < want || f->len > most)) {
            rc = err_set(e, ERR_SYNTAX, "frame of %" PRIu64 " bytes instead of %zu", f->len, want);
        } else if (f->len > LIMIT_PIXEL_MAP) {
            rc = err_set(e, ERR_LIMIT, "frame of %" PRIu64 " bytes", f->len);
        }
    }
    return rc;
}

enum err source_open(struct source *s, const struct dsrc *src, struct str syntax_uid,
                     struct errmsg *e)
{
    const struct syntax *syntax = syntax_find(syntax_uid);
    uint32_t             frames = 0;
    unsigned             seen = 0;
    *s = (struct source){.src = *src, .syntax = syntax, .spool.fd = -1};
    arena_init(&s->arena, LIMIT_DSET);
    buf_init(&s->stream, LIMIT_PIXEL_MAP);
    s->codec = codec_of(syntax_uid);
    if (syntax == NULL || s->codec == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "transfer syntax %.*s cannot be decoded",
                       STR_ARG(syntax_uid));
    }
    enum err rc = syntax->deflated || syntax->big_endian ? straighten(s, e) : ERR_OK;
    rc = rc == ERR_OK ? read_dset(s, &seen, e) : rc;
    if (rc == ERR_OK && (seen & LENIENT_SWITCHED) != 0) { // in another encoding than it says
        rc = straighten(s, e);
        rc = rc == ERR_OK ? read_dset(s, &seen, e) : rc;
    }
    rc = rc == ERR_OK ? image_of(s->dset, &s->image, &frames, e) : rc;
    rc = rc == ERR_OK ? frames_find(s->dset, &s->src, &s->arena, &s->frames, e) : rc;
    return rc == ERR_OK ? check_frames(s, frames, e) : rc;
}

void source_done(struct source *s)
{
    buf_done(&s->stream);
    arena_done(&s->arena);
    spool_done(&s->spool);
}

/* ---- frames */

static enum err read_piece(struct source *s, uint64_t at, uint64_t len, struct errmsg *e)
{
    uint8_t *to = buf_grow(&s->stream, (size_t)len);
    size_t   got = 0, n = 1;
    if (to == NULL) {
        return err_set(e, s->stream.err, "frame of over %" PRIu64 " bytes", len);
    }
    enum err rc = ERR_OK;
    while (rc == ERR_OK && got < len && n > 0) {
        rc = s->src.read(s->src.ctx, at + got, to + got, (size_t)len - got, &n, e);
        got += rc == ERR_OK ? n : 0;
    }
    return rc == ERR_OK && got < len ? err_set(e, ERR_SYNTAX, "pixel data is cut short") : rc;
}

/* PS3.5 8.1.1: 1-bit frames follow each other without gaps, from the lowest bit on. */
static void shift_bits(uint8_t *p, size_t n, unsigned bit)
{
    for (size_t i = 0; bit > 0 && i < n; i++) {
        unsigned next = i + 1 < n ? p[i + 1] : 0;
        p[i] = (uint8_t)((unsigned)p[i] >> bit | next << (8 - bit));
    }
}

enum err source_stream(struct source *s, uint32_t frame, struct bytes *ret, struct errmsg *e)
{
    if (frame >= s->frames.n) {
        return err_set(e, ERR_NOTFOUND, "no frame %" PRIu32 " of %zu", frame, s->frames.n);
    }
    const struct frame *f = &s->frames.v[frame];
    uint64_t            at = 0, offset = 0, len = 1;
    enum err            rc = ERR_OK;
    buf_clear(&s->stream);
    while (rc == ERR_OK && len > 0) {
        rc = frame_piece(&s->src, f, &at, &offset, &len, e);
        rc = rc == ERR_OK && len > 0 ? read_piece(s, offset, len, e) : rc;
    }
    if (rc == ERR_OK && f->fragments == 0 && s->image.allocated == 1) {
        size_t want = 0;
        shift_bits(s->stream.ptr, s->stream.len, f->bit);
        rc = image_bytes(&s->image, &want, e);
        s->stream.len = want < s->stream.len ? want : s->stream.len;
    }
    if (rc == ERR_OK) {
        *ret = (struct bytes){s->stream.ptr, s->stream.len};
    }
    return rc;
}

enum err source_native(struct source *s, struct pixel_pool *p, uint32_t frame, struct image *ret,
                       struct buf *out, struct errmsg *e)
{
    struct bytes stream = {0};
    enum err     rc = source_stream(s, frame, &stream, e);
    if (rc == ERR_OK && s->codec->codec == CODEC_NATIVE) {
        buf_add(out, stream);
        *ret = s->image;
        return out->err == ERR_OK ? ERR_OK : err_set(e, out->err, "no memory for a frame");
    }
    if (rc == ERR_OK) {
        rc = pixel_decode(p, str_of(s->codec->uid), &s->image, stream, 0, ret, out, e);
    }
    if (rc != ERR_OK) {
        err_context(e, "frame %" PRIu32, frame + 1);
    }
    return rc;
}
