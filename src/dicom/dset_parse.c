#include <assert.h>
#include <inttypes.h>

#include "dicom/dset_priv.h"
#include "dicom/dspull.h"

enum {
    READ_MAX_VALUE = 64 << 10,
    FRAGMENT_HEAD = 8,
};

struct build {
    struct arena            *arena;
    const struct parse_opts *opts;
    uint32_t                 max_value;
    struct bytes             input; // views may point into it; empty when it does not outlive us
    struct dset             *open[LIMIT_SQ_DEPTH + 1]; // root and the items open in it
    struct elem             *seq[LIMIT_SQ_DEPTH + 1];  // seq[i] holds open[i]
    struct elem             *el;                       // whose value is being read, or NULL
    uint8_t                 *to;                       // its bytes so far, when they are copied
    uint64_t                 got;
    size_t                   room; // at `to`
    bool                     big, stopped;
    struct elem             *pixels; // encapsulated element that is open
};

static enum err full(const struct build *b, struct errmsg *e)
{
    return err_set(e, ERR_LIMIT, "data set needs more than %zu bytes of memory", b->arena->cap);
}

static enum err slot(struct build *b, const struct ds_token *t, struct elem **ret, struct errmsg *e)
{
    struct elem *el = dset_slot(b->open[t->depth], t->tag);
    b->el = NULL;
    if (el == NULL) {
        return full(b, e);
    }
    el->vr = t->vr;
    el->len = t->len;
    el->offset = t->offset;
    *ret = el;
    return ERR_OK;
}

static enum err on_elem(struct build *b, struct dsread *r, const struct ds_token *t,
                        struct errmsg *e)
{
    enum err rc = slot(b, t, &b->el, e);
    if (rc != ERR_OK) {
        return rc;
    }
    b->got = 0;
    b->to = NULL;
    b->big = t->big && vr_unit(t->vr) > 1;
    if (t->len > b->max_value) {
        b->el->left_out = true;
        dsread_skip(r);
    }
    return ERR_OK;
}

/* The fragments of pixel data that came by windows: kept with their headers until too long. */
static enum err pixel_bytes(struct build *b, struct bytes piece, struct errmsg *e)
{
    if (b->pixels->left_out) {
        return ERR_OK;
    }
    if (b->got + piece.len > b->max_value) {
        b->pixels->left_out = true;
        return ERR_OK;
    }
    size_t need = (size_t)b->got + piece.len;
    if (need > b->room) {
        size_t   room = need < b->max_value / 2 ? need * 2 : b->max_value;
        uint8_t *p = arena_alloc(b->arena, room, 1);
        if (p == NULL) {
            return full(b, e);
        }
        if (b->got > 0) {
            memcpy(p, b->to, (size_t)b->got);
        }
        b->to = p;
        b->room = room;
    }
    if (piece.len > 0) {
        memcpy(&b->to[b->got], piece.ptr, piece.len);
        b->got += piece.len;
    }
    return ERR_OK;
}

static enum err on_data(struct build *b, const struct ds_token *t, struct errmsg *e)
{
    if (b->pixels != NULL) {
        return pixel_bytes(b, t->data, e);
    }
    struct elem *el = b->el;
    assert(el != NULL);
    if (b->input.len > 0 && !b->big) {
        if (b->got == 0) { // pieces of one input lie in a row
            el->value.ptr = t->data.ptr;
        }
        el->value.len += t->data.len;
    } else {
        if (b->to == NULL) {
            b->to = arena_alloc(b->arena, (size_t)t->len, 1);
            if (b->to == NULL) {
                return full(b, e);
            }
            el->value.ptr = b->to;
        }
        assert(b->got <= t->len && t->data.len <= t->len - b->got);
        memcpy(b->to + b->got, t->data.ptr, t->data.len);
        el->value.len += t->data.len;
    }
    b->got += t->data.len;
    if (b->got == t->len && b->big) {
        swap_units(b->to, (size_t)b->got, vr_unit(el->vr));
    }
    return ERR_OK;
}

static enum err on_seq(struct build *b, const struct ds_token *t, struct errmsg *e)
{
    struct elem *el = NULL;
    enum err     rc = slot(b, t, &el, e);
    if (rc == ERR_OK) {
        el->vr = VR_SQ;
        b->seq[t->depth + 1] = el;
    }
    return rc;
}

static enum err on_item(struct build *b, const struct ds_token *t, struct errmsg *e)
{
    struct dset *item = dset_add_item(b->open[t->depth - 1], b->seq[t->depth]);
    if (item == NULL) {
        return full(b, e);
    }
    b->open[t->depth] = item;
    return ERR_OK;
}

static enum err on_pixels(struct build *b, const struct ds_token *t, struct errmsg *e)
{
    enum err rc = slot(b, t, &b->pixels, e);
    if (rc == ERR_OK) {
        b->pixels->encapsulated = true;
        b->got = 0;
        b->to = NULL;
        b->room = 0;
    }
    return rc;
}

static enum err on_fragment(struct build *b, struct dsread *r, const struct ds_token *t,
                            struct errmsg *e)
{
    assert(b->pixels != NULL);
    if (b->input.len > 0 || b->pixels->left_out || t->len > b->max_value) {
        b->pixels->left_out |= t->len > b->max_value;
        dsread_skip(r);
        return ERR_OK;
    }
    const uint8_t head[FRAGMENT_HEAD] = {0xFE,
                                         0xFF,
                                         0x00,
                                         0xE0,
                                         (uint8_t)t->len,
                                         (uint8_t)(t->len >> 8),
                                         (uint8_t)(t->len >> 16),
                                         (uint8_t)(t->len >> 24)};
    return pixel_bytes(b, (struct bytes){head, sizeof(head)}, e);
}

static void on_pixels_end(struct build *b, const struct dsread *r, const struct ds_token *t)
{
    struct elem *el = b->pixels;
    assert(el != NULL);
    b->pixels = NULL;
    bool cut = (r->seen & LENIENT_SHORT_PIXELS) != 0;
    if (b->input.len > 0) {
        struct cur c = cur_of(b->input);
        (void)cur_bytes(&c, (size_t)el->offset);
        el->value = cur_bytes(&c, (size_t)(t->at - el->offset));
        el->left_out |= el->value.len > b->max_value;
    } else if (b->got > 0) {
        el->value = (struct bytes){b->to, (size_t)b->got};
    }
    el->left_out |= cut; // a cut fragment does not make a value that could be written again
    if (el->left_out) {
        el->value = (struct bytes){(const uint8_t *)"", 0};
    }
}

/* The stream may have ended inside the last value: then it is as long as it is. */
static void on_end(struct build *b, const struct ds_token *t)
{
    struct elem *el = b->el;
    b->el = NULL;
    if (el == NULL || t->at >= el->offset + el->len) {
        return;
    }
    el->len = t->at - el->offset;
    if (b->big && b->got > 0) {
        swap_units(b->to, (size_t)b->got, vr_unit(el->vr));
    }
}

static enum err on_token(struct build *b, struct dsread *r, const struct ds_token *t,
                         struct errmsg *e)
{
    bool starts = t->kind == DS_ELEM || t->kind == DS_SEQ || t->kind == DS_PIXELS;
    if (starts && t->depth == 0 && b->opts->stop_tag != 0 && t->tag >= b->opts->stop_tag) {
        b->stopped = true;
        return ERR_OK;
    }
    switch (t->kind) {
    case DS_ELEM: return on_elem(b, r, t, e);
    case DS_DATA: return on_data(b, t, e);
    case DS_SEQ: return on_seq(b, t, e);
    case DS_ITEM: return on_item(b, t, e);
    case DS_PIXELS: return on_pixels(b, t, e);
    case DS_FRAG: return on_fragment(b, r, t, e);
    case DS_PIXELS_END: on_pixels_end(b, r, t); return ERR_OK;
    case DS_END: on_end(b, t); return ERR_OK;
    case DS_ITEM_END:
    case DS_SEQ_END:
    case DS__COUNT: break;
    }
    return ERR_OK;
}

static struct build build_of(const struct parse_opts *opts, uint32_t max_value, struct arena *a)
{
    return (struct build){.arena = a,
                          .opts = opts,
                          .max_value = opts->max_value != 0 ? opts->max_value : max_value,
                          .open = {dset_new(a)}};
}

static enum err build_pulled(struct build *b, struct dspull *p, struct errmsg *e)
{
    struct ds_token t;
    enum err        rc;
    do {
        rc = dspull_next(p, &t, e);
        rc = rc == ERR_OK ? on_token(b, &p->r, &t, e) : rc;
    } while (rc == ERR_OK && t.kind != DS_END && !b->stopped);
    return rc;
}

static enum err pull_all(struct build *b, const struct dsrc *src, uint64_t at,
                         const struct syntax *s, struct parse_opts *opts, struct errmsg *e)
{
    CLEANUP(dspull_done) struct dspull p;
    enum err                           rc = dspull_init(&p, src, at, s, opts->lenient, e);
    rc = rc == ERR_OK && b->open[0] == NULL ? full(b, e) : rc;
    rc = rc == ERR_OK ? build_pulled(b, &p, e) : rc;
    opts->seen = p.r.seen;
    return rc;
}

static enum err parse_plain(struct build *b, struct bytes in, const struct syntax *s,
                            struct parse_opts *opts, struct errmsg *e)
{
    struct dsread   r;
    struct ds_token t;
    enum err        rc = b->open[0] == NULL ? full(b, e) : ERR_OK;
    dsread_init(&r, s, opts->lenient, 0);
    dsread_feed(&r, 0, in, opts->stop_tag == 0);
    b->input = in;
    while (rc == ERR_OK) {
        rc = dsread_next(&r, &t, e);
        rc = rc == ERR_OK ? on_token(b, &r, &t, e) : rc;
        if (rc == ERR_OK && (t.kind == DS_END || b->stopped)) {
            break;
        }
    }
    opts->seen = r.seen;
    return rc;
}

enum err dset_parse(struct bytes in, const struct syntax *s, struct parse_opts *opts,
                    struct arena *a, struct dset **ret, struct errmsg *e)
{
    struct build b = build_of(opts, LIMIT_VALUE, a);
    enum err     rc;
    if (s->deflated) {
        struct dsrc src = dsrc_of_bytes(&in);
        rc = pull_all(&b, &src, 0, s, opts, e);
        rc = rc == ERR_OK && opts->stop_tag != 0 && !b.stopped ? ERR_MORE : rc;
    } else {
        rc = parse_plain(&b, in, s, opts, e);
    }
    if (rc == ERR_OK) {
        *ret = b.open[0];
    }
    return rc;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, agreed between the modules */
enum err dset_read(const struct dsrc *src, uint64_t at, const struct syntax *s,
                   struct parse_opts *opts, struct arena *a, struct dset **ret, struct errmsg *e)
{
    struct build b = build_of(opts, READ_MAX_VALUE, a);
    enum err     rc = pull_all(&b, src, at, s, opts, e);
    if (rc == ERR_MORE) { // a source has no more to give
        rc = ERR_SYNTAX;
        if (e != NULL) {
            e->code = rc;
        }
    }
    if (rc == ERR_OK) {
        *ret = b.open[0];
    }
    return rc;
}
