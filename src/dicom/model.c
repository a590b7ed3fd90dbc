#include <math.h>

#include "base/limits.h"
#include "base/num.h"
#include "dicom/charset.h"
#include "dicom/model_priv.h"

enum { TAG_CHARSET = TAG(0x0008, 0x0005) };

#define FL_MAX    0x1.ffffffp127     // from here on a float would be infinite
#define EXACT_MAX 9007199254740992.0 // 2^53: integers up to here are exact in a double

/* ---- texts -------------------------------------------------------------------------------- */

bool model_is_plain(struct bytes v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] >= 0x80 || v.ptr[i] == 0x1B) { // ISO 2022 shifts with escapes in 7 bits too
            return false;
        }
    }
    return true;
}

static bool has_wide(const struct dset *d, unsigned depth)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct elem *el = &d->elems[i];
        if (is_vr_string(el->vr) && !el->left_out && !model_is_plain(el->value)) {
            return true;
        }
        for (size_t k = 0; k < el->n_items && depth < LIMIT_SQ_DEPTH; k++) {
            if (has_wide(el->items[k], depth + 1)) {
                return true;
            }
        }
    }
    return false;
}

bool model_has_wide(const struct dset *d)
{
    return has_wide(d, 0);
}

struct str model_trim_end(struct str s)
{
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\0')) {
        s.len--;
    }
    return s;
}

struct str model_trim(struct str s)
{
    s = model_trim_end(s);
    while (s.len > 0 && s.ptr[0] == ' ') {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    return s;
}

size_t model_number_size(enum vr vr)
{
    bool number = vr == VR_US || vr == VR_SS || vr == VR_UL || vr == VR_SL || vr == VR_UV ||
                  vr == VR_SV || vr == VR_FL || vr == VR_FD;
    return vr == VR_AT ? 4 : number ? vr_unit(vr) : 0;
}

/* ---- numbers ------------------------------------------------------------------------------ */

bool model_whole(struct str s, int64_t *ret)
{
    double v = 0;
    if (parse_i64(s, ret)) {
        return true;
    }
    if (!parse_double(s, &v) || v != floor(v) || fabs(v) > EXACT_MAX) {
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

static bool add_float(struct buf *out, enum vr vr, struct str s)
{
    double   v = 0;
    uint64_t wide = 0;
    uint32_t word = 0;
    if (str_eq(s, STR("NaN")) || str_eq(s, STR("nan"))) {
        v = (double)NAN;
    } else if (str_eq(s, STR("Infinity")) || str_eq(s, STR("inf")) || str_eq(s, STR("INF"))) {
        v = (double)INFINITY;
    } else if (str_eq(s, STR("-Infinity")) || str_eq(s, STR("-inf")) || str_eq(s, STR("-INF"))) {
        v = -(double)INFINITY;
    } else if (!parse_double(s, &v) || (vr == VR_FL && fabs(v) >= FL_MAX)) {
        return false;
    }
    if (vr == VR_FD) {
        memcpy(&wide, &v, sizeof(wide));
        buf_u64le(out, wide);
        return true;
    }
    float f = (float)v;
    memcpy(&word, &f, sizeof(word));
    buf_u32le(out, word);
    return true;
}

static bool add_tag(struct buf *out, struct str s)
{
    uint64_t tag = 0;
    if (s.len != 8 || !parse_u64_base(s, 16, &tag)) {
        return false;
    }
    buf_u16le(out, (uint16_t)(tag >> 16));
    buf_u16le(out, (uint16_t)tag);
    return true;
}

static bool add_integer(struct buf *out, enum vr vr, struct str s)
{
    static const struct {
        int64_t min, max;
        size_t  size;
    } range[VR__COUNT] = {
        [VR_US] = {0, UINT16_MAX, 2},        [VR_SS] = {INT16_MIN, INT16_MAX, 2},
        [VR_UL] = {0, UINT32_MAX, 4},        [VR_SL] = {INT32_MIN, INT32_MAX, 4},
        [VR_SV] = {INT64_MIN, INT64_MAX, 8}, [VR_UV] = {0, INT64_MAX, 8},
    };

    int64_t  v = 0;
    uint64_t u = 0;
    if (vr == VR_UV && parse_u64(s, &u)) {
        buf_u64le(out, u);
        return true;
    }
    if (!model_whole(s, &v) || v < range[vr].min || v > range[vr].max) {
        return false;
    }
    if (range[vr].size == 2) {
        buf_u16le(out, (uint16_t)v);
    } else if (range[vr].size == 4) {
        buf_u32le(out, (uint32_t)v);
    } else {
        buf_u64le(out, (uint64_t)v);
    }
    return true;
}

bool model_add_number(struct buf *out, enum vr vr, struct str s)
{
    if (vr == VR_FL || vr == VR_FD) {
        return add_float(out, vr, s);
    }
    return vr == VR_AT ? add_tag(out, s) : add_integer(out, vr, s);
}

/* ---- binary ------------------------------------------------------------------------------- */

void model_base64(struct buf *out, struct bytes v)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    uint8_t *to = buf_grow(out, (v.len + 2) / 3 * 4);
    if (to == NULL) {
        return;
    }
    for (size_t i = 0; i < v.len; i += 3) {
        size_t   n = v.len - i < 3 ? v.len - i : 3;
        uint32_t three = (uint32_t)v.ptr[i] << 16 | (uint32_t)(n > 1 ? v.ptr[i + 1] : 0) << 8 |
                         (uint32_t)(n > 2 ? v.ptr[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) {
            *to++ = k <= n ? (uint8_t)letters[three >> (18 - 6 * k) & 63] : (uint8_t)'=';
        }
    }
}

static int base64_digit(uint8_t c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* RFC 4648 section 4; the padding may be missing. */
bool model_unbase64(struct str in, struct buf *out)
{
    while (in.len > 0 && in.len % 4 == 0 && in.ptr[in.len - 1] == '=') {
        in.len -= in.len > 1 && in.ptr[in.len - 2] == '=' ? 2 : 1;
    }
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < in.len; i++) {
        int v = base64_digit((uint8_t)in.ptr[i]);
        if (v < 0) {
            return false;
        }
        bits = (bits << 6 | (uint32_t)v) & 0xFFFFFF;
        n += 6;
        if (n >= 8) {
            n -= 8;
            buf_u8(out, (uint8_t)(bits >> n));
        }
    }
    return n < 6;
}

/* ---- charset ------------------------------------------------------------------------------ */

/* Whatever the text said of its charset: it was UTF-8, and so are the values now. */
static enum err name_charset(struct dset *d, bool add, unsigned depth)
{
    enum err rc = ERR_OK;
    if (add || has_value(d, TAG_CHARSET)) {
        rc = dset_put(d, TAG_CHARSET, VR_CS, str_bytes(STR("ISO_IR 192")));
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct elem *el = &d->elems[i];
        for (size_t k = 0; k < el->n_items && depth <= LIMIT_SQ_DEPTH && rc == ERR_OK; k++) {
            rc = name_charset(el->items[k], false, depth + 1);
        }
    }
    return rc;
}

enum err model_set_utf8(struct dset *d)
{
    return name_charset(d, has_wide(d, 0), 0);
}

struct str model_text(const struct dset *d, const struct elem *el, struct buf *scratch)
{
    if (model_is_plain(el->value)) {
        return (struct str){(const char *)el->value.ptr, el->value.len};
    }
    buf_clear(scratch);
    charset_decode(dset_charset(d), el->vr, el->value, scratch);
    return (struct str){(const char *)scratch->ptr, scratch->len};
}

bool model_is_nameless(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '=' && s.ptr[i] != ' ') {
            return false;
        }
    }
    return true;
}

bool model_is_single(enum vr vr)
{
    return vr == VR_LT || vr == VR_ST || vr == VR_UT || vr == VR_UR;
}

bool model_is_bulk(const struct elem *el, size_t inline_max)
{
    bool text = is_vr_string(el->vr) || model_number_size(el->vr) > 0;
    return el->left_out || el->encapsulated ||
           (!text && el->items == NULL && el->value.len > inline_max);
}
