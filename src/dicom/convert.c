#include "dicom/convert.h"

#include <inttypes.h>

#include "dicom/dset_priv.h"
#include "dicom/dspull.h"

enum {
    STAGE = 64 << 10, // bytes gathered before they are handed on
};

/* The way out: small pieces are gathered, then deflated where the syntax wants it. */
struct out {
    convert_sink   *sink;
    void           *ctx;
    struct buf      stage;
    struct deflate *z;
    struct buf      packed;
    uint64_t        total; // bytes handed to the sink
};

static enum err out_init(struct out *o, convert_sink *sink, void *ctx, bool deflated,
                         struct errmsg *e)
{
    *o = (struct out){.sink = sink, .ctx = ctx};
    buf_init(&o->stage, STAGE);
    buf_init(&o->packed, STAGE);
    bool ok = true;
    if (deflated) {
        o->z = deflate_new();
        ok = o->z != NULL && buf_grow(&o->packed, STAGE) != NULL;
    }
    return ok ? ERR_OK : err_set(e, ERR_NOMEM, "no memory to convert");
}

static void out_done(struct out *o)
{
    deflate_free(o->z);
    buf_done(&o->stage);
    buf_done(&o->packed);
}

static enum err emit(struct out *o, struct bytes piece, struct errmsg *e)
{
    o->total += piece.len;
    return piece.len > 0 ? o->sink(o->ctx, piece, e) : ERR_OK;
}

static enum err emit_packed(struct out *o, struct bytes piece, bool finish, struct errmsg *e)
{
    struct deflate_io io = {
        .in = piece, .finish = finish, .out = o->packed.ptr, .room = o->packed.len, .n = 1};
    enum err rc = ERR_OK;
    while (rc == ERR_OK && !io.end && (finish || io.in.len > 0 || io.n > 0)) {
        rc = deflate_run(o->z, &io, e);
        rc = rc == ERR_OK ? emit(o, (struct bytes){o->packed.ptr, io.n}, e) : rc;
    }
    if (rc == ERR_OK && finish && o->total % 2 != 0) {
        static const uint8_t pad = 0; // PS3.5 A.5
        rc = emit(o, (struct bytes){&pad, 1}, e);
    }
    return rc;
}

static enum err out_flush(struct out *o, bool finish, struct errmsg *e)
{
    struct bytes piece = {o->stage.ptr, o->stage.len};
    enum err     rc = o->stage.err != ERR_OK ? err_set(e, o->stage.err, "no memory to convert")
                      : o->z != NULL         ? emit_packed(o, piece, finish, e)
                                             : emit(o, piece, e);
    buf_clear(&o->stage);
    return rc;
}

/* Room for n more bytes in the stage, n being small. */
static enum err out_room(struct out *o, size_t n, struct errmsg *e)
{
    return o->stage.max - o->stage.len < n ? out_flush(o, false, e) : ERR_OK;
}

static enum err out_bytes(struct out *o, struct bytes piece, struct errmsg *e)
{
    enum err rc = out_room(o, piece.len, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (piece.len > o->stage.max - o->stage.len) {
        return o->z != NULL ? emit_packed(o, piece, false, e) : emit(o, piece, e);
    }
    buf_add(&o->stage, piece);
    return ERR_OK;
}

struct conv {
    const struct syntax *to;
    struct out           out;
    struct buf           turned; // a piece in the other byte order
    enum vr              vr;     // of the open value, as it is written
    uint64_t             left;   // of it
    bool                 odd;

    const struct convert_edit *edit;       // NULL: none
    size_t                     put;        // elements of edit->put that are written
    bool                       dropping;   // a sequence or pixel data at the top level
    bool                       has_pixels; // they are written
};

/* ---- changes at the top level */

enum { HEAD_MAX = 16 };

enum err convert_head(struct conv *c, uint32_t tag, enum vr vr, uint32_t len, struct errmsg *e)
{
    enum err rc = out_room(&c->out, HEAD_MAX, e);
    if (rc == ERR_OK) {
        head_write(&c->out.stage, c->to, tag, vr, len);
    }
    return rc;
}

enum err convert_delim(struct conv *c, uint32_t tag, uint32_t len, struct errmsg *e)
{
    enum err rc = out_room(&c->out, HEAD_MAX, e);
    if (rc == ERR_OK) {
        delim_write(&c->out.stage, c->to, tag, len);
    }
    return rc;
}

enum err convert_bytes(struct conv *c, struct bytes b, size_t unit, struct errmsg *e)
{
    enum err rc = ERR_OK;
    if (!c->to->big_endian || unit < 2) {
        return out_bytes(&c->out, b, e);
    }
    while (rc == ERR_OK && b.len > 0) {
        struct bytes piece = {b.ptr, b.len < STAGE ? b.len : STAGE};
        b = (struct bytes){b.ptr + piece.len, b.len - piece.len};
        buf_clear(&c->turned);
        buf_add(&c->turned, piece);
        rc = buf_end(&c->turned, &piece);
        if (rc == ERR_OK) {
            swap_units(c->turned.ptr, c->turned.len, unit);
            rc = out_bytes(&c->out, piece, e);
        }
    }
    return rc == ERR_OK ? rc : err_set(e, rc, "no memory to convert");
}

/* Elements to be put in front of this tag; true: one of them takes its place. */
static enum err put_until(struct conv *c, uint32_t tag, bool *ret_replaced, struct errmsg *e)
{
    const struct dset *d = c->edit->put;
    enum err           rc = ERR_OK;
    while (rc == ERR_OK && d != NULL && c->put < d->n && d->elems[c->put].tag <= tag) {
        const struct elem *el = &d->elems[c->put++];
        enum vr            vr = vr_written(c->to, el->vr, (uint32_t)el->value.len);
        rc = convert_head(c, el->tag, el->vr, (uint32_t)el->value.len, e);
        rc = rc == ERR_OK ? convert_bytes(c, el->value, vr_unit(vr), e) : rc;
        *ret_replaced = el->tag == tag;
    }
    return rc;
}

static bool is_dropped(const struct convert_edit *edit, uint32_t tag)
{
    for (size_t i = 0; i < edit->n_drop; i++) {
        if (edit->drop[i] == tag) {
            return true;
        }
    }
    return false;
}

/* An element at the top level begins: *ret_out, it is not to be written. */
static enum err edit_elem(struct conv *c, const struct ds_token *t, bool *ret_out, struct errmsg *e)
{
    bool     out = false;
    bool     pixels = t->tag >= 0x7FE00008 && t->tag <= 0x7FE00010 && c->edit->pixels != NULL;
    enum err rc = put_until(c, t->tag, &out, e);
    if (rc == ERR_OK && pixels && !c->has_pixels) {
        rc = c->edit->pixels(c->edit->ctx, c, e);
    }
    c->has_pixels = c->has_pixels || pixels;
    bool put = c->edit->put != NULL && dset_find(c->edit->put, t->tag) != NULL; // out of order
    *ret_out = out || pixels || put || is_dropped(c->edit, t->tag);
    return rc;
}

/* *ret_out: the token was seen to. */
static enum err edit_token(struct conv *c, struct dsread *r, const struct ds_token *t,
                           bool *ret_out, struct errmsg *e)
{
    bool begins = t->kind == DS_ELEM || t->kind == DS_SEQ || t->kind == DS_PIXELS;
    bool replaced = false;
    if (t->kind == DS_END) {
        return put_until(c, UINT32_MAX, &replaced, e);
    }
    if (c->dropping) {
        c->dropping = t->depth > 0 || (t->kind != DS_SEQ_END && t->kind != DS_PIXELS_END);
        if (t->kind == DS_ELEM || t->kind == DS_FRAG) {
            dsread_skip(r);
        }
        *ret_out = true;
        return ERR_OK;
    }
    if (t->depth > 0 || !begins || (t->tag & 0xFFFF) == 0) {
        return ERR_OK;
    }
    enum err rc = edit_elem(c, t, ret_out, e);
    if (*ret_out && t->kind == DS_ELEM) {
        dsread_skip(r);
    } else if (*ret_out) {
        c->dropping = true;
    }
    return rc;
}

static enum err on_elem(struct conv *c, struct dsread *r, const struct ds_token *t,
                        struct errmsg *e)
{
    if ((t->tag & 0xFFFF) == 0) { // a group length: wrong from here on
        dsread_skip(r);
        return ERR_OK;
    }
    c->odd = (t->len & 1) != 0;
    c->left = t->len;
    if (t->len + c->odd >= LEN32_UNDEFINED) {
        return err_set(e, ERR_LIMIT, "(%04X,%04X) of %" PRIu64 " bytes is too long",
                       (unsigned)(t->tag >> 16), (unsigned)(t->tag & 0xFFFF), t->len);
    }
    uint32_t len = (uint32_t)t->len + c->odd;
    c->vr = vr_written(c->to, t->vr, len);
    head_write(&c->out.stage, c->to, t->tag, t->vr, len);
    return ERR_OK;
}

/* A piece in the other byte order; the pad is part of the last unit. */
static enum err turn(struct conv *c, struct bytes *piece, bool pad, struct errmsg *e)
{
    buf_clear(&c->turned);
    buf_add(&c->turned, *piece);
    if (pad) {
        buf_u8(&c->turned, vr_pad(c->vr));
    }
    if (buf_end(&c->turned, piece) != ERR_OK) {
        return err_set(e, ERR_NOMEM, "no memory to convert");
    }
    swap_units(c->turned.ptr, c->turned.len, vr_unit(c->vr));
    return ERR_OK;
}

static enum err on_data(struct conv *c, const struct ds_token *t, struct errmsg *e)
{
    struct bytes piece = t->data;
    c->left -= piece.len;
    bool pad = c->odd && c->left == 0;
    if (t->big != c->to->big_endian && vr_unit(c->vr) > 1) {
        enum err rc = turn(c, &piece, pad, e);
        return rc == ERR_OK ? out_bytes(&c->out, piece, e) : rc;
    }
    enum err rc = out_bytes(&c->out, piece, e);
    if (rc == ERR_OK && pad) {
        uint8_t blank = vr_pad(c->vr);
        rc = out_bytes(&c->out, (struct bytes){&blank, 1}, e);
    }
    return rc;
}

static enum err on_token(struct conv *c, struct dsread *r, const struct ds_token *t,
                         struct errmsg *e)
{
    struct buf *b = &c->out.stage;
    bool        seen_to = false;
    enum err    rc = c->edit != NULL ? edit_token(c, r, t, &seen_to, e) : ERR_OK;
    rc = rc == ERR_OK ? out_room(&c->out, HEAD_MAX, e) : rc;
    if (rc != ERR_OK || seen_to) {
        return rc;
    }
    switch (t->kind) {
    case DS_ELEM: return on_elem(c, r, t, e);
    case DS_DATA: return on_data(c, t, e);
    case DS_SEQ: head_write(b, c->to, t->tag, VR_SQ, LEN32_UNDEFINED); break;
    case DS_ITEM: delim_write(b, c->to, TAG_ITEM, LEN32_UNDEFINED); break;
    case DS_ITEM_END: delim_write(b, c->to, TAG_ITEM_END, 0); break;
    case DS_SEQ_END: delim_write(b, c->to, TAG_SEQ_END, 0); break;
    case DS_PIXELS:
    case DS_FRAG:
    case DS_PIXELS_END:
        return err_set(e, ERR_UNSUPPORTED, "compressed pixel data cannot be written as %s",
                       c->to->name);
    case DS_END: return out_flush(&c->out, true, e);
    case DS__COUNT: break;
    }
    return ERR_OK;
}

static enum err convert_tokens(struct dspull *p, struct conv *c, struct errmsg *e)
{
    struct ds_token t;
    enum err        rc;
    do {
        rc = dspull_next(p, &t, e);
        if (rc == ERR_MORE) { // a source has no more to give
            if (e != NULL) {
                e->code = ERR_SYNTAX;
            }
            return ERR_SYNTAX;
        }
        rc = rc == ERR_OK ? on_token(c, &p->r, &t, e) : rc;
    } while (rc == ERR_OK && t.kind != DS_END);
    return rc;
}

/* Same encoding underneath: only deflation comes or goes. */
static enum err convert_raw(struct dspull *p, struct out *o, struct errmsg *e)
{
    struct bytes piece;
    enum err     rc;
    do {
        rc = dspull_raw(p, &piece, e);
        rc = rc == ERR_OK ? out_bytes(o, piece, e) : rc;
    } while (rc == ERR_OK && piece.len > 0);
    return rc == ERR_OK ? out_flush(o, true, e) : rc;
}

/* Not even that: the bytes as they lie. */
static struct syntax as_bytes(const struct syntax *s)
{
    struct syntax plain = *s;
    plain.deflated = false;
    return plain;
}

static bool is_plain(const struct syntax *s)
{
    static const struct syntax *const plain[] = {&SYNTAX_IMPLICIT, &SYNTAX_EXPLICIT, &SYNTAX_BIG,
                                                 &SYNTAX_DEFLATED};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (str_eq(str_of(s->uid), str_of(plain[i]->uid))) {
            return true;
        }
    }
    return false;
}

static bool is_same(const struct syntax *a, const struct syntax *b)
{
    return str_eq(str_of(a->uid), str_of(b->uid));
}

bool is_convertible(const struct syntax *from, const struct syntax *to)
{
    return is_same(from, to) || (is_plain(from) && is_plain(to));
}

static enum err convert_open(struct dspull *p, struct conv *c, const struct syntax *from, bool raw,
                             struct errmsg *e)
{
    enum err rc = raw ? convert_raw(p, &c->out, e) : convert_tokens(p, c, e);
    if (rc != ERR_OK) {
        err_context(e, "from %s to %s", from->name, c->to->name);
    }
    return rc;
}

enum err convert_run(const struct convert_task *j, struct errmsg *e)
{
    bool same = is_same(j->from, j->to);
    bool edit = j->edit != NULL;
    bool raw = !edit && (same || (j->from->explicit_vr == j->to->explicit_vr &&
                                  j->from->big_endian == j->to->big_endian));
    if (!edit && !same && !is_plain(j->to)) {
        return err_set(e, ERR_UNSUPPORTED, "no conversion to %s here", j->to->name);
    }
    raw = raw && (same || is_plain(j->from));
    struct syntax s = same && !edit ? as_bytes(j->from) : *j->from;
    struct conv   c = {.to = j->to, .edit = j->edit};
    struct dspull p;
    buf_init(&c.turned, STAGE + 1); // a window and a pad
    enum err rc =
        dspull_init(&p, j->src, j->at, &s, LENIENT_ALL & ~(unsigned)LENIENT_SHORT_PIXELS, e);
    if (rc == ERR_OK) {
        rc = out_init(&c.out, j->sink, j->ctx, j->to->deflated && (edit || !same), e);
        rc = rc == ERR_OK ? convert_open(&p, &c, j->from, raw, e) : rc;
        out_done(&c.out);
    }
    buf_done(&c.turned);
    dspull_done(&p);
    return rc;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, agreed between the modules */
enum err convert_stream(const struct dsrc *src, uint64_t at, const struct syntax *from,
                        const struct syntax *to, convert_sink *sink, void *ctx, struct errmsg *e)
{
    const struct convert_task c = {
        .src = src, .at = at, .from = from, .to = to, .sink = sink, .ctx = ctx};
    return convert_run(&c, e);
}
