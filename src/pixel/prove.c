#include "pixel/prove.h"

#include <inttypes.h>

#include "base/limits.h"
#include "dicom/tags.h"
#include "pixel/source.h"

enum { CHUNK = 16 << 10, GROUP_PIXELS = 0x7FE0 };

struct pair {
    struct source a, b;
};

static enum err differs(uint32_t tag, struct errmsg *e)
{
    return err_set(e, ERR_CONFLICT, "(%04X,%04X) is not what it was", tag >> 16, tag & 0xFFFF);
}

/* ---- the data set */

static bool is_free(uint32_t tag, bool top)
{
    return (tag & 0xFFFF) == 0 ||
           (top && (tag_group(tag) == GROUP_PIXELS || tag == DT_PhotometricInterpretation ||
                    tag == DT_PlanarConfiguration));
}

static const struct elem *next_of(const struct dset *d, size_t *at, bool top)
{
    while (*at < d->n && is_free(d->elems[*at].tag, top)) {
        (*at)++;
    }
    return *at < d->n ? &d->elems[(*at)++] : NULL;
}

/* An odd value gets its pad when it is written. */
static bool is_len_same(uint64_t a, uint64_t b)
{
    return a == b || (a % 2 != 0 && a + 1 == b);
}

static enum err read_exact(const struct dsrc *src, uint64_t at, uint8_t *to, size_t n,
                           struct errmsg *e)
{
    size_t   got = 0;
    enum err rc = dsrc_read_full(src, at, to, n, &got, e);
    return rc == ERR_OK && got < n ? err_set(e, ERR_SYNTAX, "a value is cut short") : rc;
}

/* Values that were left out for their length; both sources are little endian. */
static enum err compare_long(const struct pair *p, const struct elem *x, const struct elem *y,
                             struct errmsg *e)
{
    uint8_t  a[CHUNK], b[CHUNK];
    enum err rc = x->left_out && y->left_out ? ERR_OK : differs(x->tag, e);
    for (uint64_t at = 0; rc == ERR_OK && at < x->len; at += CHUNK) {
        size_t n = x->len - at < CHUNK ? (size_t)(x->len - at) : CHUNK;
        rc = read_exact(&p->a.src, x->offset + at, a, n, e);
        rc = rc == ERR_OK ? read_exact(&p->b.src, y->offset + at, b, n, e) : rc;
        rc = rc == ERR_OK && memcmp(a, b, n) != 0 ? differs(x->tag, e) : rc;
    }
    return rc;
}

static enum err compare_dset(const struct pair *p, const struct dset *a, const struct dset *b,
                             unsigned depth, struct errmsg *e);

static enum err compare_elem(const struct pair *p, const struct elem *x, const struct elem *y,
                             unsigned depth, struct errmsg *e)
{
    if (x->tag != y->tag || x->n_items != y->n_items || x->encapsulated || y->encapsulated ||
        (x->vr == VR_SQ) != (y->vr == VR_SQ)) {
        return differs(x->tag, e);
    }
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < x->n_items; i++) {
        rc = compare_dset(p, x->items[i], y->items[i], depth + 1, e);
    }
    if (rc != ERR_OK || x->vr == VR_SQ) {
        return rc;
    }
    if (!is_len_same(x->len, y->len)) {
        return differs(x->tag, e);
    }
    if (x->left_out || y->left_out) {
        return compare_long(p, x, y, e);
    }
    return memcmp(x->value.ptr != NULL ? x->value.ptr : (const uint8_t *)"",
                  y->value.ptr != NULL ? y->value.ptr : (const uint8_t *)"", x->value.len) == 0
               ? ERR_OK
               : differs(x->tag, e);
}

static enum err compare_dset(const struct pair *p, const struct dset *a, const struct dset *b,
                             unsigned depth, struct errmsg *e)
{
    size_t   i = 0, k = 0;
    enum err rc = depth <= LIMIT_SQ_DEPTH ? ERR_OK : err_set(e, ERR_LIMIT, "nested too deeply");
    while (rc == ERR_OK) {
        const struct elem *x = next_of(a, &i, depth == 0);
        const struct elem *y = next_of(b, &k, depth == 0);
        if (x == NULL && y == NULL) {
            return ERR_OK;
        }
        rc = x != NULL && y != NULL ? compare_elem(p, x, y, depth, e)
                                    : differs(x != NULL ? x->tag : y->tag, e);
    }
    return rc;
}

/* ---- pixels */

static uint8_t interleaved(const struct image *i, const uint8_t *frame, size_t at)
{
    size_t bytes = i->allocated / 8U, sample = at / bytes, plane = (size_t)i->cols * i->rows;
    if (!i->planar) {
        return frame[at];
    }
    return frame[(sample % i->samples * plane + sample / i->samples) * bytes + at % bytes];
}

static bool is_same_frame(const struct image *i, struct bytes was, struct bytes is)
{
    if (!i->planar || was.len != is.len) {
        return bytes_eq(was, is);
    }
    for (size_t k = 0; k < was.len; k++) {
        if (interleaved(i, was.ptr, k) != is.ptr[k]) {
            return false;
        }
    }
    return true;
}

static enum err compare_frame(struct pair *p, struct pixel_pool *pool, uint32_t i, struct buf *was,
                              struct buf *is, struct errmsg *e)
{
    struct image a, b;
    buf_clear(was);
    buf_clear(is);
    enum err rc = source_native(&p->a, pool, i, &a, was, e);
    rc = rc == ERR_OK ? source_native(&p->b, pool, i, &b, is, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    bool same =
        a.cols == b.cols && a.rows == b.rows && a.samples == b.samples &&
        a.allocated == b.allocated && a.is_signed == b.is_signed &&
        (a.photometric == b.photometric) &&
        is_same_frame(&a, (struct bytes){was->ptr, was->len}, (struct bytes){is->ptr, is->len});
    return same ? ERR_OK
                : err_set(e, ERR_CONFLICT, "pixels of frame %" PRIu32 " are not what they were",
                          i + 1);
}

static enum err compare_frames(struct pair *p, struct pixel_pool *pool, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf was;
    CLEANUP(buf_done) struct buf is;
    buf_init(&was, LIMIT_PIXEL_MAP);
    buf_init(&is, LIMIT_PIXEL_MAP);
    enum err rc =
        p->a.frames.n == p->b.frames.n
            ? ERR_OK
            : err_set(e, ERR_CONFLICT, "%zu frames instead of %zu", p->b.frames.n, p->a.frames.n);
    for (uint32_t i = 0; rc == ERR_OK && i < p->a.frames.n; i++) {
        rc = compare_frame(p, pool, i, &was, &is, e);
    }
    return rc;
}

enum err transcode_prove(struct pixel_pool *p, const struct dsrc *original, struct str original_uid,
                         const struct dsrc *made, struct str made_uid, struct errmsg *e)
{
    struct pair both;
    enum err    rc = source_open(&both.a, original, original_uid, e);
    enum err    rc_b = source_open(&both.b, made, made_uid, rc == ERR_OK ? e : NULL);
    rc = rc == ERR_OK ? rc_b : rc;
    rc = rc == ERR_OK ? compare_dset(&both, both.a.dset, both.b.dset, 0, e) : rc;
    rc = rc == ERR_OK ? compare_frames(&both, p, e) : rc;
    source_done(&both.a);
    source_done(&both.b);
    return rc;
}
