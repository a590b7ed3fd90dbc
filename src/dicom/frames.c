#include "dicom/frames.h"

#include <inttypes.h>

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "dicom/dset_priv.h"

enum {
    TAG_FRAMES = 0x00280008,
    TAG_ROWS = 0x00280010,
    TAG_COLUMNS = 0x00280011,
    TAG_SAMPLES = 0x00280002,
    TAG_PHOTOMETRIC = 0x00280004,
    TAG_BITS_ALLOCATED = 0x00280100,
    TAG_EXTENDED_OFFSETS = 0x7FE00001,
    TAG_EXTENDED_LENGTHS = 0x7FE00002,
    TAG_FLOAT_PIXELS = 0x7FE00008,
    TAG_DOUBLE_PIXELS = 0x7FE00009,
    TAG_PIXELS = 0x7FE00010,
    HEAD = 8,
    FRAGMENTS_FIRST = 16,
};

struct fragment {
    uint64_t offset; // of the value
    uint64_t len;
};

struct scan {
    const struct dsrc *src;
    struct arena      *arena;
    struct fragment   *v;
    size_t             n, room;
    struct bytes       basic; // the basic offset table, in the arena
    uint64_t           base;  // what the offset tables count from
};

static enum err full(const struct arena *a, struct errmsg *e)
{
    return err_set(e, ERR_LIMIT, "frames do not fit in %zu bytes", a->cap);
}

static enum err add_fragment(struct scan *s, uint64_t offset, uint64_t len, struct errmsg *e)
{
    if (s->n == s->room) {
        size_t           room = s->room == 0 ? FRAGMENTS_FIRST : s->room * 2;
        struct fragment *v = arena_array(s->arena, room, struct fragment);
        if (v == NULL) {
            return full(s->arena, e);
        }
        if (s->n > 0) {
            memcpy(v, s->v, s->n * sizeof(*v));
        }
        s->v = v;
        s->room = room;
    }
    s->v[s->n++] = (struct fragment){offset, len};
    return ERR_OK;
}

static enum err read_basic(struct scan *s, uint64_t at, uint32_t len, struct errmsg *e)
{
    uint8_t *p = arena_alloc(s->arena, (size_t)len + 1, 1);
    size_t   n;
    if (p == NULL) {
        return full(s->arena, e);
    }
    enum err rc = dsrc_read_full(s->src, at, p, len, &n, e);
    if (rc == ERR_OK) {
        s->basic = (struct bytes){p, n};
        s->base = at + len;
    }
    return rc;
}

/* One item at *at; *ret_end: it was the delimiter, or there was none. */
static enum err scan_item(struct scan *s, uint64_t *at, bool *ret_end, struct errmsg *e)
{
    uint8_t  head[HEAD];
    size_t   n;
    enum err rc = dsrc_read_full(s->src, *at, head, sizeof(head), &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct cur c = cur_of((struct bytes){head, n});
    uint16_t   group = cur_u16le(&c);
    uint32_t   tag = TAG(group, cur_u16le(&c));
    uint32_t   len = cur_u32le(&c);
    if (c.err != ERR_OK || tag == TAG_SEQ_END) {
        *ret_end = true;
        return ERR_OK;
    }
    if (tag != TAG_ITEM || len == LEN32_UNDEFINED) {
        return err_set(e, ERR_SYNTAX, "no fragment at offset %" PRIu64, *at);
    }
    uint64_t value = *at + HEAD;
    uint64_t left = s->src->size > value ? s->src->size - value : 0;
    *at = value + len;
    if (s->base == 0) {
        return len > left ? err_set(e, ERR_SYNTAX, "basic offset table is cut short")
                          : read_basic(s, value, len, e);
    }
    return add_fragment(s, value, len < left ? len : left, e);
}

static enum err scan_fragments(struct scan *s, uint64_t at, struct errmsg *e)
{
    bool     end = false;
    enum err rc = ERR_OK;
    while (rc == ERR_OK && !end) {
        rc = scan_item(s, &at, &end, e);
    }
    return rc == ERR_OK && s->n == 0 ? err_set(e, ERR_SYNTAX, "pixel data without fragments") : rc;
}

static struct frame frame_of(const struct fragment *first, const struct fragment *last)
{
    return (struct frame){.offset = first->offset,
                          .len = last->offset + last->len - first->offset,
                          .fragments = (uint32_t)(last - first) + 1};
}

/* is_start says of each fragment whether a frame begins there; the first one does. */
static bool group_by(const struct scan *s, const bool *is_start, struct frames *f)
{
    size_t k = 0, first = 0;
    for (size_t i = 1; i <= s->n; i++) {
        if (i == s->n || is_start[i]) {
            if (k == f->n) {
                return false;
            }
            f->v[k++] = frame_of(&s->v[first], &s->v[i - 1]);
            first = i;
        }
    }
    return k == f->n;
}

static size_t find_fragment(const struct scan *s, uint64_t offset)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->v[mid].offset < offset) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < s->n && s->v[lo].offset == offset ? lo : SIZE_MAX;
}

/* An offset table is believed when each entry is the start of a fragment, ascending. */
static bool by_table(const struct scan *s, struct bytes table, size_t width, bool *is_start,
                     struct frames *f)
{
    if (table.len != f->n * width) {
        return false;
    }
    memset(is_start, 0, s->n);
    struct cur c = cur_of(table);
    for (size_t i = 0, least = 0; i < f->n; i++) {
        uint64_t at = width == 8 ? cur_u64le(&c) : cur_u32le(&c);
        size_t   k = at < UINT64_MAX / 2 ? find_fragment(s, s->base + at + HEAD) : SIZE_MAX;
        if (k == SIZE_MAX || k < least || (i == 0 && k != 0)) {
            return false;
        }
        is_start[k] = true;
        least = k + 1;
    }
    return group_by(s, is_start, f);
}

/* SOI of JPEG and JPEG-LS, SOC of JPEG 2000, and the naked and the boxed JPEG XL. */
static bool begins_stream(const uint8_t *p)
{
    return (p[0] == 0xFF && (p[1] == 0xD8 || p[1] == 0x4F || p[1] == 0x0A)) ||
           (p[0] == 0 && p[1] == 0 && p[2] == 0 && p[3] == 0x0C);
}

static enum err by_content(const struct scan *s, bool *is_start, struct frames *f, struct errmsg *e)
{
    for (size_t i = 0; i < s->n; i++) {
        uint8_t  head[4] = {1, 1, 1, 1};
        size_t   n = s->v[i].len < sizeof(head) ? (size_t)s->v[i].len : sizeof(head);
        enum err rc = dsrc_read_full(s->src, s->v[i].offset, head, n, &n, e);
        if (rc != ERR_OK) {
            return rc;
        }
        is_start[i] = begins_stream(head);
    }
    return group_by(s, is_start, f)
               ? ERR_OK
               : err_set(e, ERR_UNSUPPORTED, "%zu frames in %zu fragments cannot be told apart",
                         f->n, s->n);
}

static struct bytes in_memory(const struct dset *d, uint32_t tag)
{
    const struct elem *el = dset_find(d, tag);
    return el != NULL && !el->left_out ? el->value : (struct bytes){0};
}

/* (7FE0,0001) may be longer than the values kept. */
static enum err extended_table(const struct dset *d, const struct scan *s, struct bytes *ret,
                               struct errmsg *e)
{
    const struct elem *el = dset_find(d, TAG_EXTENDED_OFFSETS);
    *ret = in_memory(d, TAG_EXTENDED_OFFSETS);
    if (el == NULL || !el->left_out || el->len > LIMIT_VALUE) {
        return ERR_OK;
    }
    uint8_t *p = arena_alloc(s->arena, (size_t)el->len, 1);
    if (p == NULL) {
        return full(s->arena, e);
    }
    ret->ptr = p;
    return dsrc_read_full(s->src, el->offset, p, (size_t)el->len, &ret->len, e);
}

static enum err find_encapsulated(const struct dset *d, const struct elem *el, struct scan *s,
                                  struct frames *f, struct errmsg *e)
{
    struct bytes extended;
    enum err     rc = scan_fragments(s, el->offset, e);
    rc = rc == ERR_OK ? extended_table(d, s, &extended, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    bool *is_start = arena_array(s->arena, s->n, bool);
    f->v = arena_array(s->arena, f->n < s->n ? f->n : s->n, struct frame);
    if (is_start == NULL || f->v == NULL) {
        return full(s->arena, e);
    }
    if (f->n > s->n) {
        return err_set(e, ERR_UNSUPPORTED, "%zu frames in %zu fragments cannot be told apart", f->n,
                       s->n);
    }
    if (by_table(s, extended, 8, is_start, f) || by_table(s, s->basic, 4, is_start, f)) {
        return ERR_OK;
    }
    if (f->n == 1 || f->n == s->n) {
        memset(is_start, f->n == s->n, s->n);
        return group_by(s, is_start, f) ? ERR_OK : ERR_SYNTAX;
    }
    return by_content(s, is_start, f, e);
}

static bool ends_with(struct str s, struct str tail)
{
    return s.len >= tail.len && str_eq((struct str){&s.ptr[s.len - tail.len], tail.len}, tail);
}

static bool mul(uint64_t *v, uint64_t by)
{
    return !__builtin_mul_overflow(*v, by, v);
}

/* Bits of one native frame; 0 when the attributes do not tell. */
static uint64_t frame_bits(const struct dset *d, const struct elem *el, size_t n)
{
    uint16_t rows = 0, columns = 0, samples = 1, bits = 0;
    uint64_t pixels = 1, all = 0;
    (void)dset_u16(d, TAG_SAMPLES, &samples);
    bool ok = dset_u16(d, TAG_ROWS, &rows) && dset_u16(d, TAG_COLUMNS, &columns);
    if (el->tag == TAG_PIXELS) {
        ok = ok && dset_u16(d, TAG_BITS_ALLOCATED, &bits);
    } else {
        bits = el->tag == TAG_FLOAT_PIXELS ? 32 : 64;
    }
    ok = ok && mul(&pixels, rows) && mul(&pixels, columns) && mul(&pixels, bits);
    all = pixels;
    if (!ok || !mul(&all, samples)) {
        return 0;
    }
    /* PS3.3 C.7.6.3.1.2: chroma of every other pixel only.  Some say so and send all of it. */
    struct str photometric = dset_str(d, TAG_PHOTOMETRIC);
    uint64_t   need = all / 8;
    bool       fits = mul(&need, n) && need <= el->len;
    if (samples == 3 && !fits && ends_with(photometric, STR("_422"))) {
        return pixels * 2;
    }
    if (samples == 3 && !fits && ends_with(photometric, STR("_420"))) {
        return pixels + pixels / 2;
    }
    return all;
}

static enum err find_native(const struct dset *d, const struct elem *el, struct arena *a,
                            struct frames *f, struct errmsg *e)
{
    uint64_t bits = frame_bits(d, el, f->n);
    if (bits == 0 || el->len > UINT64_MAX / 8) {
        return err_set(e, ERR_SYNTAX, "rows, columns or bits are missing");
    }
    uint64_t have = el->len * 8;
    uint64_t present = have / bits + (have % bits != 0);
    if (present < f->n) {
        f->n = (size_t)present;
    }
    if (f->n == 0) {
        return err_set(e, ERR_SYNTAX, "pixel data is empty");
    }
    f->v = arena_array(a, f->n, struct frame);
    if (f->v == NULL) {
        return full(a, e);
    }
    for (size_t i = 0; i < f->n; i++) {
        uint64_t at = bits * i;
        uint64_t end = at + bits < have ? at + bits : have;
        f->v[i] = (struct frame){
            .offset = el->offset + at / 8, .len = (end + 7) / 8 - at / 8, .bit = (uint8_t)(at % 8)};
    }
    return ERR_OK;
}

static const struct elem *find_pixels(const struct dset *d)
{
    static const uint32_t tags[] = {TAG_PIXELS, TAG_FLOAT_PIXELS, TAG_DOUBLE_PIXELS};
    const struct elem    *el = NULL;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]) && el == NULL; i++) {
        el = dset_find(d, tags[i]);
    }
    return el;
}

enum err frames_find(const struct dset *d, const struct dsrc *src, struct arena *a,
                     struct frames *ret, struct errmsg *e)
{
    const struct elem *el = find_pixels(d);
    int64_t            n = 1;
    if (el == NULL || el->vr == VR_SQ) {
        return err_set(e, ERR_NOTFOUND, "no pixel data");
    }
    if (has_value(d, TAG_FRAMES) && (!dset_int(d, TAG_FRAMES, &n) || n <= 0 || n > INT32_MAX)) {
        return err_set(e, ERR_SYNTAX, "number of frames is none");
    }
    struct frames f = {.n = (size_t)n};
    struct scan   s = {.src = src, .arena = a};
    enum err      rc =
        el->encapsulated ? find_encapsulated(d, el, &s, &f, e) : find_native(d, el, a, &f, e);
    if (rc == ERR_OK) {
        *ret = f;
    }
    return rc;
}

/* The next fragment of a frame of several: a header lies in front of each one's bytes, the first
 * one's before the frame. */
static enum err next_fragment(const struct dsrc *src, const struct frame *f, uint64_t *at,
                              uint64_t *ret_len, struct errmsg *e)
{
    uint8_t  head[HEAD];
    size_t   n;
    uint64_t left = f->len - *at;
    uint64_t head_at = f->offset + *at - (*at == 0 ? HEAD : 0);
    enum err rc = dsrc_read_full(src, head_at, head, sizeof(head), &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct cur c = cur_of((struct bytes){head, n});
    (void)cur_u32le(&c);
    uint32_t len = cur_u32le(&c);
    if (c.err != ERR_OK) {
        return err_set(e, ERR_SYNTAX, "no fragment at offset %" PRIu64, head_at);
    }
    uint64_t skip = *at == 0 ? 0 : left < HEAD ? left : HEAD;
    *at += skip;
    *ret_len = left - skip < len ? left - skip : len;
    return ERR_OK;
}

enum err frame_piece(const struct dsrc *src, const struct frame *f, uint64_t *at,
                     uint64_t *ret_offset, uint64_t *ret_len, struct errmsg *e)
{
    uint64_t len = 0;
    enum err rc = ERR_OK;
    while (rc == ERR_OK && len == 0 && *at < f->len) {
        len = f->len - *at;
        rc = f->fragments > 1 ? next_fragment(src, f, at, &len, e) : ERR_OK;
        if (len == 0 && *at == 0) {
            return rc == ERR_OK ? err_set(e, ERR_SYNTAX, "frame begins with an empty fragment")
                                : rc;
        }
    }
    if (rc == ERR_OK) {
        *ret_offset = f->offset + *at;
        *ret_len = len;
        *at += len;
    }
    return rc;
}
