#include "dicom/json.h"

#include <math.h>
#include <stdio.h>

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "dicom/model_priv.h"

enum { TAG_CHARSET = TAG(0x0008, 0x0005), INLINE_MAX = 256, DIGITS_SAFE = 15, DIGITS_MAX = 17 };

#define EXACT_MAX (INT64_C(1) << 53) // integers up to here are exact in a double

/* Where we are: the sequences and items on the way to the element. */
struct place {
    uint32_t tag;
    size_t   item; // from 1
};

struct writer {
    const struct json_opts *o;
    struct jsonw           *w;
    struct errmsg          *e;
    size_t                  inline_max;
    enum err                text_err; // the first that a text met
    bool                    recoded;  // texts change their charset, so (0008,0005) must say so
    struct buf              text;     // scratch: the decoded value
    struct place            path[LIMIT_SQ_DEPTH];
    size_t                  depth;
};

static enum err put_dset(struct writer *x, const struct dset *d);

/* Eight digits; snprintf for each attribute would be a third of the time that JSON takes. */
static void tag_text(uint32_t tag, char ret[8])
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < 8; i++) {
        ret[i] = hex[tag >> (28 - 4 * i) & 15];
    }
}

/* ---- texts -------------------------------------------------------------------------------- */

static struct str value_text(struct writer *x, const struct dset *d, const struct elem *el)
{
    struct str s = model_text(d, el, &x->text);
    x->text_err = x->text_err != ERR_OK ? x->text_err : x->text.err;
    return s;
}

static void put_name(struct jsonw *w, struct str s)
{
    static const char *const groups[] = {"Alphabetic", "Ideographic", "Phonetic"};

    jsonw_obj(w);
    for (size_t i = 0; i < 3 && s.len > 0; i++) {
        const char *cut = i < 2 ? memchr(s.ptr, '=', s.len) : NULL;
        size_t      n = cut == NULL ? s.len : (size_t)(cut - s.ptr);
        struct str  group = model_trim_end((struct str){s.ptr, n});
        s = cut == NULL ? (struct str){0} : (struct str){cut + 1, s.len - n - 1};
        if (group.len > 0) {
            jsonw_key(w, str_of(groups[i]));
            jsonw_str(w, group);
        }
    }
    jsonw_obj_end(w);
}

/* ---- decimal texts ------------------------------------------------------------------------ */

/* A number in text, taken apart: digits without leading zeros. */
struct decimal {
    bool   minus;
    size_t whole, fraction; // digits before and after the point
    size_t digits;          // significant ones
    char   text[64];        // as JSON wants it
    size_t len;
};

static size_t count_digits(struct str s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9') {
        n++;
    }
    return n;
}

static struct str rest_of(struct str s, size_t n)
{
    return (struct str){s.ptr + n, s.len - n};
}

static void add(struct decimal *d, const char *p, size_t n)
{
    memcpy(d->text + d->len, p, n);
    d->len += n;
}

/* [eE][+-]digits of at most two digits, which no finite double minds; len 0: none of that. */
static bool is_exponent(struct str s)
{
    size_t sign = s.len > 1 && (s.ptr[1] == '+' || s.ptr[1] == '-') ? 1 : 0;
    size_t n = s.len > 1 + sign ? s.len - 1 - sign : 0;
    return s.len == 0 || ((s.ptr[0] == 'e' || s.ptr[0] == 'E') && n >= 1 && n <= 2 &&
                          count_digits(rest_of(s, 1 + sign)) == n);
}

/* "+007." and ".5" are numbers in DICOM; JSON wants "7" and "0.5". */
static bool decimal_parse(struct str s, struct decimal *d)
{
    *d = (struct decimal){.minus = s.len > 0 && s.ptr[0] == '-'};
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        s = rest_of(s, 1);
    }
    if (s.len == 0 || s.len > sizeof(d->text) - 4) {
        return false;
    }
    size_t     n = count_digits(s);
    struct str whole = {s.ptr, n}, fraction = {0};
    s = rest_of(s, n);
    if (s.len > 0 && s.ptr[0] == '.') {
        fraction = (struct str){s.ptr + 1, count_digits(rest_of(s, 1))};
        s = rest_of(s, 1 + fraction.len);
    }
    if (whole.len + fraction.len == 0 || !is_exponent(s)) {
        return false;
    }
    while (whole.len > 0 && whole.ptr[0] == '0') {
        whole = rest_of(whole, 1);
    }
    size_t zeros = 0;
    while (whole.len == 0 && zeros < fraction.len && fraction.ptr[zeros] == '0') {
        zeros++;
    }
    d->whole = whole.len;
    d->fraction = fraction.len + s.len;
    d->digits = whole.len + fraction.len - zeros;
    add(d, "-", d->minus ? 1 : 0);
    add(d, whole.len > 0 ? whole.ptr : "0", whole.len > 0 ? whole.len : 1);
    add(d, ".", fraction.len > 0 ? 1 : 0);
    if (fraction.len > 0) {
        add(d, fraction.ptr, fraction.len);
    }
    if (s.len > 0) {
        add(d, s.ptr, s.len);
    }
    return true;
}

/* Whether the nearest double, printed with as many digits, gives the same digits again. */
static bool survives_double(const struct decimal *d)
{
    char   back[DIGITS_MAX + 16], digits[DIGITS_MAX + 1];
    double v = 0;
    if (d->digits > DIGITS_MAX || !parse_double((struct str){d->text, d->len}, &v)) {
        return false;
    }
    int n = snprintf(back, sizeof(back), "%.*e", (int)d->digits - 1, fabs(v));
    if (n <= 0) {
        return false;
    }
    size_t have = 0, i = 0;
    while (back[i] != '\0' && back[i] != 'e' && have < d->digits) {
        if (back[i] != '.') {
            digits[have++] = back[i];
        }
        i++;
    }
    size_t at = 0, seen = 0; // compare with the digits of the text from the first that is not zero
    while (at < d->len && (d->text[at] < '1' || d->text[at] > '9')) {
        at++;
    }
    for (; at < d->len && seen < have; at++) {
        if (d->text[at] != '.' && d->text[at] != digits[seen++]) {
            return false;
        }
    }
    return seen == have;
}

static bool is_exact(const struct decimal *d)
{
    int64_t v = 0;
    if (d->digits <= DIGITS_SAFE) {
        return true;
    }
    if (d->fraction == 0) {
        return parse_i64((struct str){d->text, d->len}, &v) && v <= EXACT_MAX && v >= -EXACT_MAX;
    }
    return survives_double(d);
}

static void put_decimal(struct jsonw *w, struct str s)
{
    struct decimal d;
    if (decimal_parse(s, &d) && is_exact(&d)) {
        jsonw_raw(w, (struct str){d.text, d.len});
    } else {
        jsonw_str(w, s);
    }
}

/* ---- Value -------------------------------------------------------------------------------- */

static void put_string(struct jsonw *w, enum vr vr, struct str s)
{
    s = model_trim_end(s);
    if (vr == VR_DS || vr == VR_IS) {
        s = model_trim(s);
    }
    if (s.len == 0 || (vr == VR_PN && model_is_nameless(s))) {
        jsonw_null(w);
    } else if (vr == VR_PN) {
        put_name(w, s);
    } else if (vr == VR_DS || vr == VR_IS) {
        put_decimal(w, s);
    } else {
        jsonw_str(w, s);
    }
}

static void put_strings(struct writer *x, enum vr vr, struct str all)
{
    if (model_trim_end(all).len == 0) { // padding alone is no value
        return;
    }
    jsonw_key(x->w, STR("Value"));
    jsonw_arr(x->w);
    const char *cut = NULL;
    while (!model_is_single(vr) && (cut = memchr(all.ptr, '\\', all.len)) != NULL) {
        size_t n = (size_t)(cut - all.ptr);
        put_string(x->w, vr, (struct str){all.ptr, n});
        all = rest_of(all, n + 1);
    }
    put_string(x->w, vr, all);
    jsonw_arr_end(x->w);
}

static void put_float(struct jsonw *w, double v, bool single)
{
    char text[40];
    if (!isfinite(v)) {
        jsonw_str(w, isnan(v) ? STR("NaN") : v > 0 ? STR("Infinity") : STR("-Infinity"));
        return;
    }
    if (!single) {
        jsonw_double(w, v);
        return;
    }
    for (int digits = 6; digits <= 9; digits++) { // the shortest that reads back the same
        int    n = snprintf(text, sizeof(text), "%.*g", digits, v);
        double back = 0;
        if (n > 0 && parse_double((struct str){text, (size_t)n}, &back) &&
            (float)back == (float)v) {
            break;
        }
    }
    jsonw_raw(w, str_of(text));
}

static void put_wide(struct jsonw *w, bool minus, uint64_t size)
{
    char text[24];
    int  n = snprintf(text, sizeof(text), "%s%llu", minus ? "-" : "", (unsigned long long)size);
    struct str s = {text, n > 0 ? (size_t)n : 0};
    if (size <= (uint64_t)EXACT_MAX) {
        jsonw_raw(w, s);
    } else {
        jsonw_str(w, s);
    }
}

static void put_binary(struct jsonw *w, enum vr vr, struct cur *c)
{
    char     tag[8];
    uint32_t word = 0;
    uint64_t wide = 0;
    float    f = 0;
    double   d = 0;
    switch ((int)vr) {
    case VR_US: jsonw_u64(w, cur_u16le(c)); break;
    case VR_SS: jsonw_i64(w, (int16_t)cur_u16le(c)); break;
    case VR_UL: jsonw_u64(w, cur_u32le(c)); break;
    case VR_SL: jsonw_i64(w, (int32_t)cur_u32le(c)); break;
    case VR_UV: put_wide(w, false, cur_u64le(c)); break;
    case VR_SV:
        wide = cur_u64le(c);
        put_wide(w, wide >> 63 == 1, wide >> 63 == 1 ? 0 - wide : wide);
        break;
    case VR_AT:
        word = (uint32_t)cur_u16le(c) << 16;
        tag_text(word | cur_u16le(c), tag);
        jsonw_str(w, (struct str){tag, sizeof(tag)});
        break;
    case VR_FL:
        word = cur_u32le(c);
        memcpy(&f, &word, sizeof(f));
        put_float(w, (double)f, true);
        break;
    default: // FD
        wide = cur_u64le(c);
        memcpy(&d, &wide, sizeof(d));
        put_float(w, d, false);
        break;
    }
}

static void put_numbers(struct writer *x, const struct elem *el)
{
    struct cur c = cur_of(el->value);
    jsonw_key(x->w, STR("Value"));
    jsonw_arr(x->w);
    while (cur_left(&c) > 0) {
        put_binary(x->w, el->vr, &c);
    }
    jsonw_arr_end(x->w);
}

/* ---- InlineBinary and BulkDataURI --------------------------------------------------------- */

static void put_inline(struct writer *x, struct bytes v)
{
    jsonw_key(x->w, STR("InlineBinary"));
    jsonw_raw(x->w, STR("\""));
    model_base64(x->w->out, v);
    buf_u8(x->w->out, '"');
}

static void put_bulk(struct writer *x, uint32_t tag)
{
    struct buf *out = x->w->out;
    jsonw_key(x->w, STR("BulkDataURI"));
    jsonw_str(x->w, x->o->bulk_prefix);
    if (out->err != ERR_OK) {
        return;
    }
    out->len--; // the path goes before the closing quotation mark; it needs no escapes
    for (size_t i = 0; i < x->depth; i++) {
        buf_fmt(out, "%08X/%zu/", (unsigned)x->path[i].tag, x->path[i].item);
    }
    buf_fmt(out, "%08X\"", (unsigned)tag);
}

/* ---- elements ----------------------------------------------------------------------------- */

static enum err put_items(struct writer *x, const struct elem *el)
{
    if (el->n_items == 0) {
        return ERR_OK;
    }
    if (x->depth >= LIMIT_SQ_DEPTH || x->w->depth + 4 >= 8 * sizeof(x->w->first)) {
        return err_set(x->e, ERR_LIMIT, "items deeper than %d in (%04X,%04X)", LIMIT_SQ_DEPTH,
                       (unsigned)(el->tag >> 16), (unsigned)(el->tag & 0xFFFF));
    }
    jsonw_key(x->w, STR("Value"));
    jsonw_arr(x->w);
    x->path[x->depth].tag = el->tag;
    x->depth++;
    for (size_t i = 0; i < el->n_items; i++) {
        x->path[x->depth - 1].item = i + 1;
        enum err rc = put_dset(x, el->items[i]);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    x->depth--;
    jsonw_arr_end(x->w);
    return ERR_OK;
}

/* The part of an attribute after "vr". */
static enum err put_value(struct writer *x, const struct dset *d, const struct elem *el, bool bulk)
{
    size_t size = model_number_size(el->vr);
    if (bulk) {
        put_bulk(x, el->tag);
    } else if (el->items != NULL) {
        return put_items(x, el);
    } else if (el->value.len == 0) {
        return ERR_OK;
    } else if (el->tag == TAG_CHARSET && x->recoded) {
        jsonw_key(x->w, STR("Value"));
        jsonw_raw(x->w, STR("[\"ISO_IR 192\"]"));
    } else if (is_vr_string(el->vr)) {
        put_strings(x, el->vr, value_text(x, d, el));
    } else if (size > 0 && el->value.len % size == 0) {
        put_numbers(x, el);
    } else {
        put_inline(x, el->value);
    }
    return ERR_OK;
}

static enum err put_elem(struct writer *x, const struct dset *d, const struct elem *el)
{
    bool bulk = model_is_bulk(el, x->inline_max);
    if ((bulk && x->o->bulk_prefix.len == 0) || (!x->o->group_length && (el->tag & 0xFFFF) == 0)) {
        return ERR_OK;
    }
    enum vr vr = el->items != NULL ? VR_SQ : el->vr == VR_NONE ? VR_UN : el->vr;
    char    key[8];
    tag_text(el->tag, key);
    jsonw_key(x->w, (struct str){key, sizeof(key)});
    jsonw_obj(x->w);
    jsonw_key(x->w, STR("vr"));
    jsonw_str(x->w, str_of(vr_name(vr)));
    enum err rc = put_value(x, d, el, bulk);
    jsonw_obj_end(x->w);
    return rc;
}

static enum err put_dset(struct writer *x, const struct dset *d)
{
    bool missing = x->recoded && x->depth == 0 && dset_find(d, TAG_CHARSET) == NULL;
    jsonw_obj(x->w);
    for (size_t i = 0; i <= d->n; i++) {
        if (missing && (i == d->n || d->elems[i].tag > TAG_CHARSET)) {
            jsonw_key(x->w, STR("00080005"));
            jsonw_raw(x->w, STR("{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]}"));
            missing = false;
        }
        enum err rc = i < d->n ? put_elem(x, d, &d->elems[i]) : ERR_OK;
        if (rc != ERR_OK) {
            return rc;
        }
    }
    jsonw_obj_end(x->w);
    return ERR_OK;
}

enum err dsjson_write(const struct dset *d, const struct json_opts *o, struct jsonw *w,
                      struct errmsg *e)
{
    struct writer x = {.o = o, .w = w, .e = e, .recoded = model_has_wide(d)};
    x.inline_max = o->inline_max > 0 ? o->inline_max : INLINE_MAX;
    buf_init(&x.text, (size_t)LIMIT_VALUE * 4); // a byte may become a character of three
    enum err rc = put_dset(&x, d);
    buf_done(&x.text);
    if (rc == ERR_OK && x.text_err != ERR_OK) {
        rc = err_set(e, x.text_err, "a text is too long for JSON");
    }
    if (rc == ERR_OK && w->out->err != ERR_OK) {
        rc = err_set(e, w->out->err, "JSON of a data set is larger than %zu bytes", w->out->max);
    }
    return rc;
}
