#include "dicom/dset.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "dicom/charset.h"
#include "dicom/dset_priv.h"

enum {
    TAG_CHARSET = 0x00080005,
    ROOM_FIRST = 8, // elements of a new data set: most items are small
};

static const struct bytes NOTHING = {(const uint8_t *)"", 0};

struct dset *dset_new(struct arena *a)
{
    struct dset *d = arena_new(a, struct dset);
    if (d != NULL) {
        d->arena = a;
    }
    return d;
}

/* Index of the first element whose tag is not below. */
static size_t lower_bound(const struct dset *d, uint32_t tag)
{
    size_t lo = 0, hi = d->n;
    if (hi > 0 && d->elems[hi - 1].tag < tag) {
        return hi; // data sets are built in order
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->elems[mid].tag < tag) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct elem *dset_find(const struct dset *d, uint32_t tag)
{
    size_t i = lower_bound(d, tag);
    return i < d->n && d->elems[i].tag == tag ? &d->elems[i] : NULL;
}

bool has_value(const struct dset *d, uint32_t tag)
{
    const struct elem *el = dset_find(d, tag);
    return el != NULL && (el->vr == VR_SQ ? el->n_items > 0 : el->len > 0);
}

void dset_remove(struct dset *d, uint32_t tag)
{
    size_t i = lower_bound(d, tag);
    if (i < d->n && d->elems[i].tag == tag) {
        d->n--;
        memmove(&d->elems[i], &d->elems[i + 1], (d->n - i) * sizeof(d->elems[0]));
    }
}

static bool grow(struct dset *d)
{
    size_t room;
    if (d->n < d->room) {
        return true;
    }
    if (!size_mul(d->room == 0 ? ROOM_FIRST : d->room, d->room == 0 ? 1 : 2, &room)) {
        return false;
    }
    struct elem *elems = arena_array(d->arena, room, struct elem);
    if (elems == NULL) {
        return false;
    }
    if (d->n > 0) {
        memcpy(elems, d->elems, d->n * sizeof(*elems));
    }
    d->elems = elems;
    d->room = room;
    return true;
}

struct elem *dset_slot(struct dset *d, uint32_t tag)
{
    size_t i = lower_bound(d, tag);
    if (i == d->n || d->elems[i].tag != tag) {
        if (!grow(d)) {
            return NULL;
        }
        memmove(&d->elems[i + 1], &d->elems[i], (d->n - i) * sizeof(d->elems[0]));
        d->n++;
    }
    d->elems[i] = (struct elem){.tag = tag, .value = NOTHING};
    return &d->elems[i];
}

struct dset *dset_add_item(struct dset *d, struct elem *seq)
{
    struct dset *item = dset_new(d->arena);
    if (item == NULL) {
        return NULL;
    }
    item->parent = d;
    /* Room is a power of two, so the count alone tells when the array is full. */
    if ((seq->n_items & (seq->n_items - 1)) == 0) {
        size_t        room = seq->n_items == 0 ? 1 : seq->n_items * 2;
        struct dset **items = arena_array(d->arena, room, struct dset *);
        if (items == NULL) {
            return NULL;
        }
        if (seq->n_items > 0) {
            memcpy(items, seq->items, seq->n_items * sizeof(struct dset *));
        }
        seq->items = items;
    }
    seq->items[seq->n_items++] = item;
    return item;
}

void swap_units(uint8_t *p, size_t n, size_t unit)
{
    for (size_t at = 0; n - at >= unit; at += unit) {
        for (size_t i = 0; i < unit / 2; i++) {
            uint8_t x = p[at + i];
            p[at + i] = p[at + unit - 1 - i];
            p[at + unit - 1 - i] = x;
        }
    }
}

uint8_t vr_pad(enum vr vr)
{
    return is_vr_string(vr) && vr != VR_UI ? ' ' : 0;
}

enum err dset_put(struct dset *d, uint32_t tag, enum vr vr, struct bytes value)
{
    struct bytes held = NOTHING;
    size_t       len;
    if (!size_add(value.len, value.len & 1, &len)) {
        return ERR_NOMEM;
    }
    if (len > 0) {
        uint8_t *p = arena_alloc(d->arena, len, 1);
        if (p == NULL) {
            return ERR_NOMEM;
        }
        p[len - 1] = vr_pad(vr);
        memcpy(p, value.ptr, value.len);
        held = (struct bytes){p, len};
    }
    struct elem *el = dset_slot(d, tag);
    if (el == NULL) {
        return ERR_NOMEM;
    }
    el->vr = vr;
    el->value = held;
    el->len = len;
    return ERR_OK;
}

enum err dset_put_str(struct dset *d, uint32_t tag, struct str ascii)
{
    return dset_put(d, tag, dict_vr(tag), str_bytes(ascii));
}

enum err dset_put_text(struct dset *d, uint32_t tag, struct str utf8)
{
    enum vr                      vr = dict_vr(tag);
    CLEANUP(buf_done) struct buf b;
    struct bytes                 coded;
    buf_init(&b, LIMIT_VALUE);
    (void)charset_encode(dset_charset(d), vr, utf8, &b);
    enum err rc = buf_end(&b, &coded);
    return rc != ERR_OK ? ERR_NOMEM : dset_put(d, tag, vr, coded);
}

enum err dset_put_u16(struct dset *d, uint32_t tag, uint16_t v)
{
    uint8_t le[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    return dset_put(d, tag, VR_US, (struct bytes){le, sizeof(le)});
}

enum err dset_put_u32(struct dset *d, uint32_t tag, uint32_t v)
{
    uint8_t le[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    return dset_put(d, tag, VR_UL, (struct bytes){le, sizeof(le)});
}

enum err dset_put_int(struct dset *d, uint32_t tag, int64_t v)
{
    char z[24];
    int  n = snprintf(z, sizeof(z), "%" PRId64, v);
    return dset_put(d, tag, VR_IS, (struct bytes){(const uint8_t *)z, (size_t)n});
}

enum err dset_put_item(struct dset *d, uint32_t tag, struct dset **ret_item)
{
    struct elem *seq = dset_find(d, tag);
    if (seq == NULL || seq->vr != VR_SQ) {
        seq = dset_slot(d, tag);
        if (seq == NULL) {
            return ERR_NOMEM;
        }
        seq->vr = VR_SQ;
    }
    struct dset *item = dset_add_item(d, seq);
    if (item == NULL) {
        return ERR_NOMEM;
    }
    *ret_item = item;
    return ERR_OK;
}

static bool is_plain(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] > 0x7E || b.ptr[i] == 0x1B) {
            return false;
        }
    }
    return true;
}

static struct bytes trim(struct bytes b, bool front)
{
    while (b.len > 0 && (b.ptr[b.len - 1] == ' ' || b.ptr[b.len - 1] == 0)) {
        b.len--;
    }
    struct cur c = cur_of(b);
    while (front && cur_left(&c) > 0 && c.p[0] == ' ') {
        (void)cur_u8(&c);
    }
    return cur_bytes(&c, cur_left(&c));
}

/* A text of another data set in the character set of this one. */
static enum err copy_text(struct dset *d, const struct dset *from, const struct elem *el)
{
    CLEANUP(buf_done) struct buf utf8;
    CLEANUP(buf_done) struct buf coded;
    struct bytes                 text;
    buf_init(&utf8, LIMIT_DSET);
    buf_init(&coded, LIMIT_DSET);
    charset_decode(dset_charset(from), el->vr, trim(el->value, false), &utf8);
    if (buf_end(&utf8, &text) != ERR_OK) {
        return ERR_NOMEM;
    }
    (void)charset_encode(dset_charset(d), el->vr, (struct str){(const char *)text.ptr, text.len},
                         &coded);
    return buf_end(&coded, &text) != ERR_OK ? ERR_NOMEM : dset_put(d, el->tag, el->vr, text);
}

static enum err copy_depth(struct dset *d, const struct dset *from, const struct elem *el,
                           unsigned depth);

static enum err copy_items(struct dset *d, const struct elem *el, unsigned depth)
{
    struct elem *seq = dset_slot(d, el->tag);
    if (seq == NULL || depth > LIMIT_SQ_DEPTH) {
        return seq == NULL ? ERR_NOMEM : ERR_LIMIT;
    }
    seq->vr = VR_SQ;
    enum err rc = ERR_OK;
    for (size_t i = 0; i < el->n_items && rc == ERR_OK; i++) {
        const struct dset *src = el->items[i];
        struct dset       *item = dset_add_item(d, seq);
        rc = item == NULL ? ERR_NOMEM : ERR_OK;
        for (size_t k = 0; rc == ERR_OK && k < src->n; k++) {
            rc = copy_depth(item, src, &src->elems[k], depth + 1);
        }
    }
    return rc;
}

static enum err copy_depth(struct dset *d, const struct dset *from, const struct elem *el,
                           unsigned depth)
{
    if (el->vr == VR_SQ) {
        return copy_items(d, el, depth);
    }
    if (el->left_out || el->encapsulated) {
        struct bytes held = el->value.len > 0 ? arena_bytes(d->arena, el->value) : NOTHING;
        struct elem *to = held.ptr != NULL ? dset_slot(d, el->tag) : NULL;
        if (to == NULL) {
            return ERR_NOMEM;
        }
        *to = *el;
        to->value = held;
        return ERR_OK;
    }
    if (is_vr_text(el->vr) && !is_plain(el->value) &&
        !bytes_eq(dset_charset(d), dset_charset(from))) {
        return copy_text(d, from, el);
    }
    return dset_put(d, el->tag, el->vr, el->value);
}

enum err dset_copy(struct dset *d, const struct dset *from, const struct elem *el)
{
    return copy_depth(d, from, el, 1);
}

/* Blanks before free text belong to it. */
static bool keeps_front(enum vr vr)
{
    return vr == VR_ST || vr == VR_LT || vr == VR_UT || vr == VR_UC;
}

static bool is_ascii(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] > 0x7E) {
            return false;
        }
    }
    return true;
}

static struct str as_str(struct bytes b)
{
    bool ok = b.len > 0 && is_ascii(b);
    return ok ? (struct str){(const char *)b.ptr, b.len} : STR("");
}

static struct bytes string_value(const struct elem *el)
{
    bool ok = el != NULL && (is_vr_string(el->vr) || el->vr == VR_UN) && !el->encapsulated;
    return ok ? el->value : NOTHING;
}

struct str dset_str(const struct dset *d, uint32_t tag)
{
    const struct elem *el = dset_find(d, tag);
    return as_str(trim(string_value(el), el != NULL && !keeps_front(el->vr)));
}

struct str dset_str_at(const struct dset *d, uint32_t tag, size_t i)
{
    const struct elem *el = dset_find(d, tag);
    struct cur         c = cur_of(string_value(el));
    while (cur_left(&c) > 0) {
        const uint8_t *bs = memchr(c.p, '\\', cur_left(&c));
        size_t         n = bs != NULL ? (size_t)(bs - c.p) : cur_left(&c);
        struct bytes   one = cur_bytes(&c, n);
        (void)(bs != NULL ? cur_u8(&c) : 0);
        if (i-- == 0) {
            return as_str(trim(one, !keeps_front(el->vr)));
        }
    }
    return STR("");
}

struct bytes dset_charset(const struct dset *d)
{
    for (; d != NULL; d = d->parent) {
        const struct elem *el = dset_find(d, TAG_CHARSET);
        if (el != NULL) {
            return el->value;
        }
    }
    return NOTHING;
}

struct str dset_text(const struct dset *d, uint32_t tag)
{
    const struct elem *el = dset_find(d, tag);
    struct bytes       raw = string_value(el);
    if (raw.len == 0) {
        return STR("");
    }
    if (is_plain(raw)) {
        return as_str(trim(raw, !keeps_front(el->vr)));
    }
    CLEANUP(buf_done) struct buf b;
    struct bytes                 text;
    buf_init(&b, LIMIT_DSET);
    charset_decode(is_vr_text(el->vr) ? dset_charset(d) : NOTHING, el->vr, raw, &b);
    if (buf_end(&b, &text) != ERR_OK) {
        return STR("");
    }
    text = trim(text, !keeps_front(el->vr));
    struct str s = arena_str(d->arena, (struct str){(const char *)text.ptr, text.len});
    return s.ptr != NULL ? s : STR("");
}

static int64_t get_signed(uint64_t v, size_t unit)
{
    return unit == 8 ? (int64_t)v : unit == 4 ? (int32_t)v : (int16_t)v;
}

static bool binary_int(const struct elem *el, enum vr vr, int64_t *ret)
{
    bool   is_signed = vr == VR_SS || vr == VR_SL || vr == VR_SV;
    size_t unit = vr_unit(vr);
    if (el->value.len < unit) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = unit; i > 0; i--) {
        v = v << 8 | el->value.ptr[i - 1];
    }
    if (!is_signed && v > INT64_MAX) {
        return false;
    }
    *ret = is_signed ? get_signed(v, unit) : (int64_t)v;
    return true;
}

/* DS that is whole: "3", "3.000", "3e2". */
static bool whole_decimal(struct str s, int64_t *ret)
{
    double v;
    if (s.len > 0 && s.ptr[0] == '+') {
        s = (struct str){&s.ptr[1], s.len - 1};
    }
    if (!parse_double(s, &v) || v != trunc(v) || fabs(v) > 9007199254740992.0) { // 2^53
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

bool dset_int(const struct dset *d, uint32_t tag, int64_t *ret)
{
    const struct elem *el = dset_find(d, tag);
    if (el == NULL) {
        return false;
    }
    enum vr vr = el->vr == VR_UN ? dict_vr(tag) : el->vr;
    if (vr == VR_IS) {
        return parse_i64(dset_str_at(d, tag, 0), ret);
    }
    if (vr == VR_DS) {
        return whole_decimal(dset_str_at(d, tag, 0), ret);
    }
    bool binary =
        vr == VR_US || vr == VR_SS || vr == VR_UL || vr == VR_SL || vr == VR_SV || vr == VR_UV;
    return binary && binary_int(el, vr, ret);
}

bool dset_u16(const struct dset *d, uint32_t tag, uint16_t *ret)
{
    int64_t v;
    if (!dset_int(d, tag, &v) || v < 0 || v > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)v;
    return true;
}

/* PS3.5 7.8.1: (gggg,00bb) reserves (gggg,bb00..bbFF). */
struct str dset_creator(const struct dset *d, uint32_t tag)
{
    uint32_t block = tag >> 8 & 0xFF;
    if (!is_tag_private(tag) || block < 0x10) {
        return STR("");
    }
    uint32_t creator = (tag & 0xFFFF0000) | block;
    for (; d != NULL; d = d->parent) {
        if (dset_find(d, creator) != NULL) {
            return dset_str(d, creator);
        }
    }
    return STR("");
}
