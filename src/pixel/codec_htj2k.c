/* OpenJPH, through htj2k.h: HTJ2K, ITU-T T.814. */
#include "pixel/codec_priv.h"
#include "pixel/htj2k.h"

struct rows {
    const struct image *i;
    uint8_t            *to;
    const uint8_t      *from;
    uint8_t             bits;
    struct buf         *out;
};

static enum err result(enum htj2k_rc rc, const char *why, struct errmsg *e)
{
    switch (rc) {
    case HTJ2K_OK: return ERR_OK;
    case HTJ2K_NOMEM: return err_set(e, ERR_NOMEM, "no memory for HTJ2K");
    case HTJ2K_BROKEN:
    default: return err_set(e, ERR_SYNTAX, "HTJ2K: %s", why);
    }
}

static int take_row(void *ctx, uint32_t y, uint32_t component, int32_t *samples)
{
    const struct rows *r = ctx;
    const size_t       width = sample_bytes(r->i);
    uint8_t           *to = r->to + y * row_bytes(r->i) + component * width;
    if (r->i->samples == 1) {
        row_out_i32(samples, r->i->cols, r->i, r->bits, to);
        return 0;
    }
    for (size_t x = 0; x < r->i->cols; x++) {
        row_out_i32(samples + x, 1, r->i, r->bits, to);
        to += width * r->i->samples;
    }
    return 0;
}

enum err htj2k_decode(const struct stream *s, struct image *i, uint8_t *px, struct errmsg *e)
{
    struct htj2k h = {.cols = i->cols, .rows = i->rows, .samples = i->samples, .reduce = s->reduce};
    struct rows  r = {.i = i, .bits = s->bits};
    r.to = px;
    char     why[HTJ2K_WHY];
    enum err rc = result(htj2k_read(&h, s->data.ptr, s->data.len, take_row, &r, why), why, e);
    if (rc == ERR_OK && s->mct) {
        i->photometric = PHOTO_RGB;
    }
    return rc;
}

static int give_row(void *ctx, uint32_t y, uint32_t component, int32_t *samples)
{
    const struct rows *r = ctx;
    const size_t       width = sample_bytes(r->i);
    const uint8_t     *from = r->from + y * row_bytes(r->i) + component * width;
    if (r->i->samples == 1) {
        row_in_i32(from, r->i->cols, r->i, samples);
        return 0;
    }
    for (size_t x = 0; x < r->i->cols; x++) {
        row_in_i32(from, 1, r->i, samples + x);
        from += width * r->i->samples;
    }
    return 0;
}

static int write_out(void *ctx, const void *p, size_t n)
{
    const struct rows *r = ctx;
    buf_add(r->out, (struct bytes){p, n});
    return r->out->err != ERR_OK;
}

enum err htj2k_encode(const struct pixels *p, struct image *ret, struct buf *out, struct errmsg *e)
{
    const struct image *i = &p->image;
    size_t              start = out->len;
    char                why[HTJ2K_WHY];
    struct rows         r = {.i = i, .from = p->px, .out = out};
    struct htj2k        h = {.cols = i->cols,
                             .rows = i->rows,
                             .samples = i->samples,
                             .bits = i->stored,
                             .is_signed = i->is_signed,
                             .levels = p->levels,
                             .mct = i->photometric == PHOTO_RGB};
    enum htj2k_rc       got = htj2k_make(&h, give_row, write_out, &r, why);
    if (out->err != ERR_OK) {
        return err_set(e, out->err, "no room for the HTJ2K stream");
    }
    enum err rc = result(got, why, e);
    if (rc == ERR_OK && p->rpcl) { // which the library cannot write
        rc = j2k_add_tlm(out, start, e);
    }
    if (h.mct) {
        ret->photometric = PHOTO_YBR_RCT;
    }
    return rc;
}
