#include <inttypes.h>

#include "base/limits.h"
#include "dicom/deflate.h"
#include "dicom/dset_priv.h"

enum {
    LEN16_MAX = 0xFFFE,
    CHUNK = 16 << 10, // step in which deflated output grows
};

struct writer {
    const struct syntax *s;
    bool                 undefined;
    struct buf          *out;
    struct errmsg       *e;
};

static void u16_write(struct buf *b, const struct syntax *s, uint16_t v)
{
    if (s->big_endian) {
        buf_u16be(b, v);
    } else {
        buf_u16le(b, v);
    }
}

static void u32_write(struct buf *b, const struct syntax *s, uint32_t v)
{
    if (s->big_endian) {
        buf_u32be(b, v);
    } else {
        buf_u32le(b, v);
    }
}

static void tag_write(struct buf *b, const struct syntax *s, uint32_t tag)
{
    u16_write(b, s, tag_group(tag));
    u16_write(b, s, (uint16_t)tag);
}

enum vr vr_written(const struct syntax *s, enum vr vr, uint32_t len)
{
    bool as_is = vr != VR_NONE &&
                 (is_vr_long(vr) || len <= LEN16_MAX || !s->explicit_vr || len == LEN32_UNDEFINED);
    return as_is ? vr : VR_UN;
}

void head_write(struct buf *b, const struct syntax *s, uint32_t tag, enum vr vr, uint32_t len)
{
    tag_write(b, s, tag);
    if (!s->explicit_vr) {
        u32_write(b, s, len);
        return;
    }
    vr = vr_written(s, vr, len);
    buf_add(b, (struct bytes){(const uint8_t *)vr_name(vr), 2});
    if (is_vr_long(vr)) {
        buf_u16le(b, 0);
        u32_write(b, s, len);
    } else {
        u16_write(b, s, (uint16_t)len);
    }
}

void delim_write(struct buf *b, const struct syntax *s, uint32_t tag, uint32_t len)
{
    tag_write(b, s, tag);
    u32_write(b, s, len);
}

/* Fill in the length written at `at` with what has come since. */
static enum err patch_length(struct writer *w, size_t at)
{
    size_t len = w->out->len - at - 4;
    if (w->out->err != ERR_OK) {
        return ERR_OK; // buf_end tells
    }
    if (len >= LEN32_UNDEFINED) {
        return err_set(w->e, ERR_LIMIT, "a sequence of %zu bytes has no defined length", len);
    }
    if (w->s->big_endian) {
        buf_patch_u32be(w->out, at, (uint32_t)len);
    } else {
        buf_patch_u32le(w->out, at, (uint32_t)len);
    }
    return ERR_OK;
}

static enum err write_items(struct writer *w, const struct elem *el, unsigned depth);

static enum err write_fragments(struct writer *w, const struct elem *el)
{
    if (!w->s->explicit_vr || w->s->big_endian) {
        return err_set(w->e, ERR_UNSUPPORTED, "(%04X,%04X) is compressed: it cannot be written so",
                       (unsigned)(el->tag >> 16), (unsigned)(el->tag & 0xFFFF));
    }
    head_write(w->out, w->s, el->tag, el->vr == VR_OW ? VR_OW : VR_OB, LEN32_UNDEFINED);
    buf_add(w->out, el->value);
    delim_write(w->out, w->s, TAG_SEQ_END, 0);
    return ERR_OK;
}

static enum err write_value(struct writer *w, const struct elem *el)
{
    size_t odd = el->value.len & 1;
    if (el->value.len >= LEN32_UNDEFINED - 1) {
        return err_set(w->e, ERR_LIMIT, "(%04X,%04X) of %zu bytes is too long",
                       (unsigned)(el->tag >> 16), (unsigned)(el->tag & 0xFFFF), el->value.len);
    }
    uint32_t len = (uint32_t)(el->value.len + odd);
    size_t   unit = w->s->big_endian ? vr_unit(vr_written(w->s, el->vr, len)) : 1;
    head_write(w->out, w->s, el->tag, el->vr, len);
    uint8_t *p = len > 0 ? buf_grow(w->out, len) : NULL;
    if (p != NULL) {
        p[len - 1] = vr_pad(el->vr);
        memcpy(p, el->value.ptr, el->value.len);
        swap_units(p, unit > 1 ? len : 0, unit);
    }
    return ERR_OK;
}

static enum err write_elem(struct writer *w, const struct elem *el, unsigned depth)
{
    if (el->left_out) {
        return err_set(w->e, ERR_UNSUPPORTED, "(%04X,%04X) is not in memory",
                       (unsigned)(el->tag >> 16), (unsigned)(el->tag & 0xFFFF));
    }
    if (el->vr == VR_SQ) {
        return write_items(w, el, depth);
    }
    return el->encapsulated ? write_fragments(w, el) : write_value(w, el);
}

/* Command and file meta groups begin with their length, PS3.7 9.3 and PS3.10 7.1. */
static bool has_group_length(uint16_t group)
{
    return group == 0 || group == 2;
}

static enum err write_group(struct writer *w, const struct dset *d, size_t *i, unsigned depth)
{
    uint16_t group = tag_group(d->elems[*i].tag);
    size_t   at = 0;
    if (depth == 0 && has_group_length(group)) {
        head_write(w->out, w->s, TAG(group, 0), VR_UL, 4);
        at = w->out->len;
        u32_write(w->out, w->s, 0);
    }
    enum err rc = ERR_OK;
    for (; rc == ERR_OK && *i < d->n && tag_group(d->elems[*i].tag) == group; (*i)++) {
        bool length = (d->elems[*i].tag & 0xFFFF) == 0;
        rc = length ? ERR_OK : write_elem(w, &d->elems[*i], depth);
    }
    return rc == ERR_OK && at > 0 ? patch_length(w, at) : rc;
}

static enum err write_dset(struct writer *w, const struct dset *d, unsigned depth)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < d->n;) {
        rc = write_group(w, d, &i, depth);
    }
    return rc;
}

static enum err write_item(struct writer *w, const struct dset *item, unsigned depth)
{
    delim_write(w->out, w->s, TAG_ITEM, w->undefined ? LEN32_UNDEFINED : 0);
    size_t   at = w->out->len - (w->out->err == ERR_OK ? 4 : 0);
    enum err rc = write_dset(w, item, depth);
    if (rc == ERR_OK && w->undefined) {
        delim_write(w->out, w->s, TAG_ITEM_END, 0);
    } else if (rc == ERR_OK) {
        rc = patch_length(w, at);
    }
    return rc;
}

static enum err write_items(struct writer *w, const struct elem *el, unsigned depth)
{
    if (depth >= LIMIT_SQ_DEPTH) {
        return err_set(w->e, ERR_LIMIT, "more than %d nested sequences", LIMIT_SQ_DEPTH);
    }
    bool undefined = w->undefined || (!w->s->explicit_vr && dict_vr(el->tag) != VR_SQ);
    head_write(w->out, w->s, el->tag, VR_SQ, undefined ? LEN32_UNDEFINED : 0);
    size_t   at = w->out->len - (w->out->err == ERR_OK ? 4 : 0);
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < el->n_items; i++) {
        rc = write_item(w, el->items[i], depth + 1);
    }
    if (rc == ERR_OK && undefined) {
        delim_write(w->out, w->s, TAG_SEQ_END, 0);
    } else if (rc == ERR_OK) {
        rc = patch_length(w, at);
    }
    return rc;
}

static enum err deflate_all(struct deflate *z, struct bytes in, struct buf *out, struct errmsg *e)
{
    struct deflate_io io = {.in = in, .finish = true};
    size_t            total = 0;
    enum err          rc = ERR_OK;
    while (rc == ERR_OK && !io.end) {
        io.room = out->max - out->len < CHUNK ? out->max - out->len : CHUNK;
        io.out = io.room > 0 ? buf_grow(out, io.room) : NULL;
        if (io.out == NULL) {
            return err_set(e, ERR_LIMIT, "deflated data set exceeds %zu bytes", out->max);
        }
        io.n = 0;
        rc = deflate_run(z, &io, e);
        out->len -= io.room - io.n;
        total += io.n;
    }
    if (rc == ERR_OK && total % 2 != 0) {
        buf_u8(out, 0); // PS3.5 A.5
    }
    return rc;
}

static enum err write_deflated(const struct dset *d, bool undefined, struct buf *out,
                               struct errmsg *e)
{
    CLEANUP(buf_done) struct buf plain;
    buf_init(&plain, UINT32_MAX);
    struct bytes bytes;
    enum err     rc = dset_write(d, &SYNTAX_EXPLICIT, undefined, &plain, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct deflate *z = deflate_new();
    if (z == NULL || buf_end(&plain, &bytes) != ERR_OK) {
        rc = err_set(e, ERR_NOMEM, "no memory to deflate");
    } else {
        rc = deflate_all(z, bytes, out, e);
    }
    deflate_free(z);
    return rc;
}

enum err dset_write(const struct dset *d, const struct syntax *s, bool undefined, struct buf *out,
                    struct errmsg *e)
{
    if (s->deflated) {
        return write_deflated(d, undefined, out, e);
    }
    struct writer w = {.s = s, .undefined = undefined, .out = out, .e = e};
    enum err      rc = write_dset(&w, d, 0);
    if (rc == ERR_OK && out->err != ERR_OK) {
        rc = err_set(e, out->err, "data set does not fit the %zu bytes allowed", out->max);
    }
    return rc;
}
