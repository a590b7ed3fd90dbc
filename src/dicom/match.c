#include "dicom/match.h"

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "dicom/charset.h"

#define MINUTE INT64_C(60000000)
#define DAY    (MINUTE * 60 * 24)

enum {
    TAG_CHARSET = TAG(0x0008, 0x0005),
    TAG_LEVEL = TAG(0x0008, 0x0052),
    TAG_VIEW = TAG(0x0008, 0x0053),
    TAG_ZONE = TAG(0x0008, 0x0201),
    TAG_BIRTH_DATE = TAG(0x0010, 0x0030),
    TAG_BIRTH_TIME = TAG(0x0010, 0x0032),
};

/* Dates and the times that go with them. */
static const struct pair {
    uint32_t date, time;
} pairs[] = {
    {TAG(0x0008, 0x0012), TAG(0x0008, 0x0013)}, // Instance Creation
    {TAG(0x0008, 0x0020), TAG(0x0008, 0x0030)}, // Study
    {TAG(0x0008, 0x0021), TAG(0x0008, 0x0031)}, // Series
    {TAG(0x0008, 0x0022), TAG(0x0008, 0x0032)}, // Acquisition
    {TAG(0x0008, 0x0023), TAG(0x0008, 0x0033)}, // Content
    {TAG(0x0008, 0x0024), TAG(0x0008, 0x0034)}, // Overlay, retired
    {TAG(0x0008, 0x0025), TAG(0x0008, 0x0035)}, // Curve, retired
    {TAG_BIRTH_DATE, TAG_BIRTH_TIME},
    {TAG(0x0018, 0x1012), TAG(0x0018, 0x1014)}, // Secondary Capture
    {TAG(0x0018, 0x1200), TAG(0x0018, 0x1201)}, // Last Calibration
    {TAG(0x0018, 0x700C), TAG(0x0018, 0x700E)}, // Last Detector Calibration
    {TAG(0x0032, 0x0032), TAG(0x0032, 0x0033)}, // Study Verified, retired
    {TAG(0x0032, 0x0034), TAG(0x0032, 0x0035)}, // Study Read, retired
    {TAG(0x0032, 0x1000), TAG(0x0032, 0x1001)}, // Scheduled Study Start, retired
    {TAG(0x0032, 0x1010), TAG(0x0032, 0x1011)}, // Scheduled Study Stop, retired
    {TAG(0x0032, 0x1040), TAG(0x0032, 0x1041)}, // Study Arrival, retired
    {TAG(0x0032, 0x1050), TAG(0x0032, 0x1051)}, // Study Completion, retired
    {TAG(0x0038, 0x001A), TAG(0x0038, 0x001B)}, // Scheduled Admission, retired
    {TAG(0x0038, 0x001C), TAG(0x0038, 0x001D)}, // Scheduled Discharge, retired
    {TAG(0x0038, 0x0020), TAG(0x0038, 0x0021)}, // Admitting
    {TAG(0x0038, 0x0030), TAG(0x0038, 0x0032)}, // Discharge, retired
    {TAG(0x0040, 0x0002), TAG(0x0040, 0x0003)}, // Scheduled Procedure Step Start
    {TAG(0x0040, 0x0004), TAG(0x0040, 0x0005)}, // Scheduled Procedure Step End
    {TAG(0x0040, 0x0244), TAG(0x0040, 0x0245)}, // Performed Procedure Step Start
    {TAG(0x0040, 0x0250), TAG(0x0040, 0x0251)}, // Performed Procedure Step End
    {TAG(0x0040, 0x2004), TAG(0x0040, 0x2005)}, // Issue of the Imaging Service Request
    {TAG(0x0070, 0x0082), TAG(0x0070, 0x0083)}, // Presentation Creation
    {TAG(0x2100, 0x0040), TAG(0x2100, 0x0050)}, // Creation of a print job
    {TAG(0x3006, 0x0008), TAG(0x3006, 0x0009)}, // Structure Set
    {TAG(0x3008, 0x0024), TAG(0x3008, 0x0025)}, // Treatment Control Point
    {TAG(0x3008, 0x0162), TAG(0x3008, 0x0164)}, // Safe Position Exit
    {TAG(0x3008, 0x0166), TAG(0x3008, 0x0168)}, // Safe Position Return
    {TAG(0x3008, 0x0250), TAG(0x3008, 0x0251)}, // Treatment
    {TAG(0x300A, 0x0006), TAG(0x300A, 0x0007)}, // RT Plan
    {TAG(0x300A, 0x022C), TAG(0x300A, 0x022E)}, // Source Strength Reference
    {TAG(0x300E, 0x0004), TAG(0x300E, 0x0005)}, // Review
    {TAG(0x4008, 0x0100), TAG(0x4008, 0x0101)}, // Interpretation Recorded, retired
    {TAG(0x4008, 0x0108), TAG(0x4008, 0x0109)}, // Interpretation Transcription, retired
    {TAG(0x4008, 0x0112), TAG(0x4008, 0x0113)}, // Interpretation Approval, retired
};

enum kind {
    KIND_BYTES,
    KIND_TEXT,
    KIND_NAME,
    KIND_UID,
    KIND_DECIMAL,
    KIND_BINARY,
    KIND_MOMENT,
    KIND_ITEMS
};

/* How a VR is compared; many: backslashes separate values; blank: leading spaces say nothing too;
 * wild: * and ?; all: subject to C.2.2.2.8. */
static const struct rule {
    enum kind kind;
    bool      many, blank, wild, all;
} rules[VR__COUNT] = {
    [VR_AE] = {.kind = KIND_TEXT, .many = true, .blank = true, .wild = true, .all = true},
    [VR_AS] = {.kind = KIND_TEXT, .many = true, .blank = true, .all = true},
    [VR_AT] = {.kind = KIND_BINARY, .all = true},
    [VR_CS] = {.kind = KIND_TEXT, .many = true, .blank = true, .wild = true, .all = true},
    [VR_DA] = {.kind = KIND_MOMENT, .many = true, .blank = true},
    [VR_DS] = {.kind = KIND_DECIMAL, .many = true, .blank = true},
    [VR_DT] = {.kind = KIND_MOMENT, .many = true, .blank = true},
    [VR_FD] = {.kind = KIND_BINARY},
    [VR_FL] = {.kind = KIND_BINARY},
    [VR_IS] = {.kind = KIND_DECIMAL, .many = true, .blank = true},
    [VR_LO] = {.kind = KIND_TEXT, .many = true, .blank = true, .wild = true, .all = true},
    [VR_LT] = {.kind = KIND_TEXT, .wild = true},
    [VR_PN] = {.kind = KIND_NAME, .many = true, .blank = true, .wild = true, .all = true},
    [VR_SH] = {.kind = KIND_TEXT, .many = true, .blank = true, .wild = true, .all = true},
    [VR_SL] = {.kind = KIND_BINARY},
    [VR_SQ] = {.kind = KIND_ITEMS},
    [VR_SS] = {.kind = KIND_BINARY},
    [VR_ST] = {.kind = KIND_TEXT, .wild = true},
    [VR_SV] = {.kind = KIND_BINARY},
    [VR_TM] = {.kind = KIND_MOMENT, .many = true, .blank = true},
    [VR_UC] = {.kind = KIND_TEXT, .many = true, .wild = true, .all = true},
    [VR_UI] = {.kind = KIND_UID, .many = true, .blank = true},
    [VR_UL] = {.kind = KIND_BINARY},
    [VR_UR] = {.kind = KIND_TEXT, .wild = true},
    [VR_US] = {.kind = KIND_BINARY},
    [VR_UT] = {.kind = KIND_TEXT, .wild = true},
    [VR_UV] = {.kind = KIND_BINARY},
};

/* One comparison under way. */
struct ask {
    const struct match_opts *o;
    const struct dset       *query, *candidate;
    const struct elem       *key, *el;
    enum vr                  vr; // what both values are read as
    const struct rule       *rule;
    struct buf               key_text, text;         // decoded, when it was not plain ASCII
    struct buf               key_fold, fold, carets; // scratch
};

static bool is_match_depth(const struct dset *query, const struct dset *candidate,
                           const struct match_opts *o, unsigned depth);

/* ---- values ------------------------------------------------------------------------------- */

static struct str trimmed(struct str s, bool front)
{
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\0')) {
        s.len--;
    }
    while (front && s.len > 0 && s.ptr[0] == ' ') {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    return s;
}

/* The value as UTF-8; scratch holds it unless it is ASCII without escapes as it lies. */
static struct str value_text(const struct dset *d, const struct elem *el, enum vr vr,
                             struct buf *scratch)
{
    bool plain = true;
    for (size_t i = 0; plain && i < el->value.len; i++) {
        plain = el->value.ptr[i] < 0x80 && el->value.ptr[i] != 0x1B;
    }
    if (plain) {
        return (struct str){(const char *)el->value.ptr, el->value.len};
    }
    buf_clear(scratch);
    charset_decode(dset_charset(d), vr, el->value, scratch);
    return (struct str){(const char *)scratch->ptr, scratch->len};
}

/* Values of a text one after the other, trimmed; rest->ptr is NULL after the last. */
static bool next_value(const struct rule *r, struct str *rest, struct str *ret)
{
    if (rest->ptr == NULL) {
        return false;
    }
    const char *cut = r->many && rest->len > 0 ? memchr(rest->ptr, '\\', rest->len) : NULL;
    size_t      n = cut == NULL ? rest->len : (size_t)(cut - rest->ptr);
    *ret = trimmed((struct str){rest->ptr, n}, r->blank);
    *rest = cut == NULL ? (struct str){0} : (struct str){cut + 1, rest->len - n - 1};
    return true;
}

static bool is_blank(const struct elem *el)
{
    if (el == NULL) {
        return true;
    }
    if (el->left_out || el->encapsulated) {
        return false;
    }
    if (el->items != NULL) {
        return el->n_items == 0;
    }
    for (size_t i = 0; i < el->value.len; i++) {
        uint8_t c = el->value.ptr[i];
        if (!is_vr_string(el->vr) || (c != ' ' && c != '\0')) {
            return false;
        }
    }
    return true;
}

static int16_t zone_of(const struct dset *d, const struct match_opts *o)
{
    int16_t zone = o->zone_minutes;
    for (; d != NULL; d = d->parent) {
        if (zone_parse(dset_str(d, TAG_ZONE), &zone)) {
            break;
        }
    }
    return zone;
}

/* ---- texts -------------------------------------------------------------------------------- */

static struct str folded(struct buf *b, enum vr vr, struct str s)
{
    buf_clear(b);
    text_key(b, vr, s);
    return (struct str){(const char *)b->ptr, b->len};
}

static bool text_match(struct ask *q, struct str key, struct str value)
{
    if (q->o->fold) {
        key = folded(&q->key_fold, q->vr, key);
        value = folded(&q->fold, q->vr, value);
    }
    return q->rule->wild && has_wildcard(key) ? is_wild_match(key, value) : str_eq(key, value);
}

static size_t count(struct str s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += s.ptr[i] == c ? 1 : 0;
    }
    return n;
}

/* One component group.  Keys have lost their trailing carets, which patterns such as "DUPONT^*"
 * may mean: as many are given back as the pattern has more. */
static bool group_match(struct ask *q, struct str key, struct str value)
{
    if (!has_wildcard(key)) {
        return str_eq(key, value);
    }
    size_t want = count(key, '^'), has = count(value, '^');
    if (want <= has) {
        return is_wild_match(key, value);
    }
    buf_clear(&q->carets);
    buf_str(&q->carets, value);
    for (; has < want; has++) {
        buf_u8(&q->carets, '^');
    }
    return is_wild_match(key, (struct str){(const char *)q->carets.ptr, q->carets.len});
}

static struct str next_group(struct str *rest)
{
    const char *cut = rest->len > 0 ? memchr(rest->ptr, '=', rest->len) : NULL;
    size_t      n = cut == NULL ? rest->len : (size_t)(cut - rest->ptr);
    struct str  group = {rest->ptr, n};
    *rest = cut == NULL ? (struct str){0} : (struct str){cut + 1, rest->len - n - 1};
    return group;
}

static bool is_stars(struct str s)
{
    return count(s, '*') == s.len;
}

static bool any_group(struct ask *q, struct str key, struct str value)
{
    while (value.len > 0) {
        struct str v = next_group(&value);
        if (v.len > 0 && group_match(q, key, v)) {
            return true;
        }
    }
    return false;
}

static bool each_group(struct ask *q, struct str key, struct str value)
{
    bool open = true, some = false;
    while (key.len > 0) {
        struct str k = next_group(&key);
        struct str v = next_group(&value);
        if (is_stars(k)) {
            continue;
        }
        open = false;
        if (v.len > 0 && !group_match(q, k, v)) {
            return false;
        }
        some = some || v.len > 0;
    }
    return some || open;
}

/* The next word of a folded name; false after the last. */
static bool next_word(struct str *rest, struct str *ret)
{
    static const char between[] = " ^=,";
    size_t            i = 0;
    while (i < rest->len && strchr(between, rest->ptr[i]) != NULL) {
        i++;
    }
    size_t from = i;
    while (i < rest->len && strchr(between, rest->ptr[i]) == NULL) {
        i++;
    }
    *ret = (struct str){rest->ptr + from, i - from};
    *rest = (struct str){rest->ptr + i, rest->len - i};
    return ret->len > 0;
}

static bool has_word(struct ask *q, struct str word, struct str value)
{
    struct str v;
    buf_clear(&q->carets);
    buf_str(&q->carets, word);
    buf_u8(&q->carets, '*');
    struct str pattern = {(const char *)q->carets.ptr, q->carets.len};
    while (next_word(&value, &v)) {
        if (is_wild_match(pattern, v)) {
            return true;
        }
    }
    return false;
}

static bool words_match(struct ask *q, struct str key, struct str value)
{
    struct str word;
    while (next_word(&key, &word)) {
        if (!is_stars(word) && !has_word(q, word, value)) {
            return false;
        }
    }
    return true;
}

/* A key of one group is looked for in all three; one of several is compared group by group, where
 * the groups that the candidate lacks do not count, but one must have been compared. */
static bool name_match(struct ask *q, struct str key, struct str value)
{
    key = folded(&q->key_fold, VR_PN, key);
    value = folded(&q->fold, VR_PN, value);
    if (q->o->words) {
        return words_match(q, key, value);
    }
    return count(key, '=') == 0 ? any_group(q, key, value) : each_group(q, key, value);
}

/* ---- numbers ------------------------------------------------------------------------------ */

static bool decimal(struct str s, double *ret)
{
    for (size_t i = 0; i < s.len; i++) { // no "0x1p3", no "inf"
        if (strchr("0123456789+-.eE", s.ptr[i]) == NULL || s.ptr[i] == '\0') {
            return false;
        }
    }
    return parse_double(s, ret);
}

static bool decimal_match(struct str key, struct str value)
{
    int64_t a = 0, b = 0;
    double  x = 0, y = 0;
    if (parse_i64(key, &a) && parse_i64(value, &b)) {
        return a == b;
    }
    return decimal(key, &x) && decimal(value, &y) ? x == y : str_eq(key, value);
}

/* The next binary number; long double holds all 64-bit integers. */
static long double take_binary(struct cur *c, enum vr vr)
{
    uint16_t half = 0;
    uint32_t word = 0;
    uint64_t wide = 0;
    float    f = 0;
    double   d = 0;
    switch ((int)vr) {
    case VR_US: return cur_u16le(c);
    case VR_SS: return (int16_t)cur_u16le(c);
    case VR_AT: half = cur_u16le(c); return (long double)((uint32_t)half << 16 | cur_u16le(c));
    case VR_UL: return cur_u32le(c);
    case VR_SL: return (int32_t)cur_u32le(c);
    case VR_FL:
        word = cur_u32le(c);
        memcpy(&f, &word, sizeof(f));
        return f;
    case VR_UV: return (long double)cur_u64le(c);
    case VR_SV: return (long double)(int64_t)cur_u64le(c);
    default: // FD
        wide = cur_u64le(c);
        memcpy(&d, &wide, sizeof(d));
        return d;
    }
}

static size_t binary_size(enum vr vr)
{
    return vr == VR_AT ? 4 : vr_unit(vr);
}

static bool has_binary(const struct elem *el, enum vr vr, long double want)
{
    struct cur c = cur_of(el->value);
    while (cur_left(&c) >= binary_size(vr)) {
        if (take_binary(&c, vr) == want) {
            return true;
        }
    }
    return false;
}

static bool binary_match(const struct ask *q)
{
    enum vr key_vr = rules[q->key->vr].kind == KIND_BINARY ? q->key->vr : q->vr;
    enum vr vr = rules[q->el->vr].kind == KIND_BINARY ? q->el->vr : q->vr;
    bool    all = q->o->all && q->rule->all, any = false;
    for (struct cur c = cur_of(q->key->value); cur_left(&c) >= binary_size(key_vr);) {
        any = has_binary(q->el, vr, take_binary(&c, key_vr));
        if (any != all) { // one found is enough, or one missing
            return any;
        }
    }
    return any;
}

/* ---- dates and times ---------------------------------------------------------------------- */

static const struct pair *pair_of(uint32_t tag)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (pairs[i].date == tag || pairs[i].time == tag) {
            return &pairs[i];
        }
    }
    return NULL;
}

/* What is added to a candidate's local time to have it on the clock of the query. A birth date is
 * what the register says, wherever it is asked. */
static int64_t shift_of(const struct ask *q)
{
    if (q->key->tag == TAG_BIRTH_DATE || q->key->tag == TAG_BIRTH_TIME) {
        return 0;
    }
    return (zone_of(q->query, q->o) - zone_of(q->candidate, q->o)) * MINUTE;
}

/* The moment that one candidate value stands for, comparable with a span of the query. */
static bool moment(const struct ask *q, struct str value, int64_t *ret)
{
    struct span s = {0};
    if (!span_parse(q->vr, value, zone_of(q->candidate, q->o), &s) || s.range) {
        return false;
    }
    int64_t     shift = q->vr == VR_DT ? 0 : shift_of(q);
    struct span t = {0};
    if (q->vr == VR_TM && shift != 0) {
        s.lo = ((s.lo + shift) % DAY + DAY) % DAY;
    } else if (q->vr == VR_DA &&
               shift != 0) { // another zone may mean another day, but only a time of day can tell
        const struct pair *p = pair_of(q->key->tag);
        bool timed = p != NULL && span_parse(VR_TM, dset_str_at(q->candidate, p->time, 0), 0, &t) &&
                     !t.range;
        s.lo += timed ? t.lo + shift : 0;
    }
    *ret = s.lo;
    return true;
}

static bool moment_match(const struct ask *q, struct str key, struct str value)
{
    struct span s = {0};
    int64_t     at = 0;
    if (!span_parse(q->vr, key, zone_of(q->query, q->o), &s)) {
        return str_eq(key, value); // no date: what is kept as text is found as text
    }
    return moment(q, value, &at) && s.lo <= at && at <= s.hi;
}

static int form_of(const struct span *s)
{
    return !s->range ? 0 : 1 | (s->lo == INT64_MIN ? 2 : 0) | (s->hi == INT64_MAX ? 4 : 0);
}

/* The range that both keys of a pair make together, when they combine (C.2.2.2.5.4): both are
 * ranges of the same form. */
static bool combined_span(const struct ask *q, const struct pair *p, struct span *ret)
{
    struct span d = {0}, t = {0};
    if (!q->o->combined || p == NULL || !span_parse(VR_DA, dset_str(q->query, p->date), 0, &d) ||
        !span_parse(VR_TM, dset_str(q->query, p->time), 0, &t) || form_of(&d) == 0 ||
        form_of(&d) != form_of(&t)) {
        return false;
    }
    ret->range = true;
    ret->lo = d.lo == INT64_MIN ? INT64_MIN : d.lo + t.lo;
    ret->hi = d.hi == INT64_MAX ? INT64_MAX : d.hi + 1 - DAY + t.hi;
    return true;
}

/* A pair against the span; a candidate without a time counts from midnight. */
static bool combined_match(const struct ask *q, const struct pair *p, const struct span *want)
{
    struct str  date = dset_str_at(q->candidate, p->date, 0);
    struct str  time = dset_str_at(q->candidate, p->time, 0);
    struct span d = {0}, t = {0};
    if (date.len == 0) {
        return q->o->unknown;
    }
    if (!span_parse(VR_DA, date, 0, &d) || d.range ||
        (time.len > 0 && (!span_parse(VR_TM, time, 0, &t) || t.range))) {
        return false;
    }
    int64_t at = d.lo + t.lo + (time.len > 0 ? shift_of(q) : 0);
    return want->lo <= at && at <= want->hi;
}

/* ---- one key ------------------------------------------------------------------------------ */

static bool value_match(struct ask *q, struct str key, struct str value)
{
    switch ((int)q->rule->kind) {
    case KIND_NAME: return name_match(q, key, value);
    case KIND_TEXT: return text_match(q, key, value);
    case KIND_DECIMAL: return decimal_match(key, value);
    case KIND_MOMENT: return moment_match(q, key, value);
    default: // UI
        return str_eq(key, value);
    }
}

static bool any_value(struct ask *q, struct str key, struct str values)
{
    struct str value;
    while (next_value(q->rule, &values, &value)) {
        if (value.len > 0 && (is_stars(key) || value_match(q, key, value))) {
            return true;
        }
    }
    return false;
}

static bool strings_match(struct ask *q)
{
    struct str keys = value_text(q->query, q->key, q->vr, &q->key_text);
    struct str values = value_text(q->candidate, q->el, q->vr, &q->text);
    bool       all = q->o->all && q->rule->all, any = false;
    struct str key;
    while (next_value(q->rule, &keys, &key)) {
        if (key.len == 0) {
            continue;
        }
        any = any_value(q, key, values);
        if (any != all) { // one found is enough, or one missing
            return any;
        }
    }
    return any;
}

static bool items_match(const struct ask *q, unsigned depth)
{
    for (size_t k = 0; k < q->key->n_items; k++) {
        for (size_t i = 0; i < q->el->n_items; i++) {
            if (is_match_depth(q->key->items[k], q->el->items[i], q->o, depth + 1)) {
                return true;
            }
        }
    }
    return false;
}

/* Private elements lie in whatever block their creator got (PS3.5 7.8.1). */
static const struct elem *find_private(const struct dset *query, uint32_t tag,
                                       const struct dset *candidate)
{
    struct str creator = dset_creator(query, tag);
    for (uint32_t block = 0x10; creator.len > 0 && block <= 0xFF; block++) {
        uint32_t there = (tag & 0xFFFF00FFU) | block << 8;
        if (str_eq(dset_creator(candidate, there), creator) &&
            dset_find(candidate, there) != NULL) {
            return dset_find(candidate, there);
        }
    }
    return NULL;
}

static bool is_key(uint32_t tag)
{
    uint32_t element = tag & 0xFFFF;
    return tag != TAG_CHARSET && tag != TAG_LEVEL && tag != TAG_VIEW && tag != TAG_ZONE &&
           element != 0 && !(is_tag_private(tag) && element <= 0xFF);
}

static enum vr vr_of(const struct elem *key, const struct elem *el)
{
    enum vr vr = key->vr;
    if (vr == VR_NONE || vr == VR_UN) {
        vr = el != NULL ? el->vr : VR_UN;
    }
    return vr == VR_NONE || vr == VR_UN ? dict_vr(key->tag) : vr;
}

/* One value that asks for anything.  Names: delimiters alone say no more than stars. */
static bool is_open_value(enum kind kind, struct str value)
{
    size_t free = count(value, '*') + count(value, ' ');
    if (kind == KIND_NAME) {
        free += count(value, '^') + count(value, '=');
    }
    return free == value.len || (kind == KIND_MOMENT && str_eq(value, STR("-")));
}

static bool is_universal_depth(const struct elem *key, unsigned depth)
{
    if (!is_key(key->tag)) {
        return true;
    }
    for (size_t k = 0; k < key->n_items && depth < LIMIT_SQ_DEPTH; k++) {
        const struct dset *item = key->items[k];
        for (size_t i = 0; i < item->n; i++) {
            if (!is_universal_depth(&item->elems[i], depth + 1)) {
                return false;
            }
        }
    }
    enum vr            vr = vr_of(key, NULL);
    const struct rule *r = &rules[vr];
    if (key->left_out || r->kind == KIND_BINARY || (r->kind == KIND_BYTES && vr != VR_UN)) {
        return key->value.len == 0 && !key->left_out;
    }
    struct str rest = {(const char *)key->value.ptr, key->value.len}, value;
    while (next_value(r, &rest, &value)) {
        if (!is_open_value(r->kind, value)) {
            return false;
        }
    }
    return true;
}

static bool compare(struct ask *q, unsigned depth)
{
    struct span        together = {0};
    const struct pair *p = q->rule->kind == KIND_MOMENT ? pair_of(q->key->tag) : NULL;
    if (combined_span(q, p, &together)) {
        return combined_match(q, p, &together);
    }
    struct str text = {(const char *)q->key->value.ptr, q->key->value.len};
    if (q->o->empty && is_vr_string(q->vr) && str_eq(trimmed(text, true), STR("\"\""))) {
        return is_blank(q->el);
    }
    if (is_blank(q->el)) {
        return q->o->unknown;
    }
    if (q->el->left_out || q->el->encapsulated || q->key->left_out) {
        return false;
    }
    switch ((int)q->rule->kind) {
    case KIND_ITEMS: return items_match(q, depth);
    case KIND_BINARY: return binary_match(q);
    case KIND_BYTES: return bytes_eq(q->key->value, q->el->value);
    default: return strings_match(q);
    }
}

static bool is_match_elem_depth(const struct dset *query, const struct elem *key,
                                const struct dset *candidate, const struct match_opts *o,
                                unsigned depth)
{
    if (is_universal_depth(key, depth)) {
        return true;
    }
    struct ask q = {.o = o, .query = query, .candidate = candidate, .key = key};
    q.el = is_tag_private(key->tag) ? find_private(query, key->tag, candidate)
                                    : dset_find(candidate, key->tag);
    q.vr = vr_of(key, q.el);
    q.rule = &rules[q.vr];
    const size_t cap = (size_t)LIMIT_VALUE * 4; // a byte may become a character of three
    buf_init(&q.key_text, cap);
    buf_init(&q.text, cap);
    buf_init(&q.key_fold, cap);
    buf_init(&q.fold, cap);
    buf_init(&q.carets, cap);
    bool yes = compare(&q, depth);
    buf_done(&q.key_text);
    buf_done(&q.text);
    buf_done(&q.key_fold);
    buf_done(&q.fold);
    buf_done(&q.carets);
    return yes;
}

static bool is_match_depth(const struct dset *query, const struct dset *candidate,
                           const struct match_opts *o, unsigned depth)
{
    if (depth > LIMIT_SQ_DEPTH) {
        return false;
    }
    for (size_t i = 0; i < query->n; i++) {
        if (!is_match_elem_depth(query, &query->elems[i], candidate, o, depth)) {
            return false;
        }
    }
    return true;
}

bool is_match(const struct dset *query, const struct dset *candidate, const struct match_opts *o)
{
    return is_match_depth(query, candidate, o, 0);
}

bool is_match_elem(const struct dset *query, const struct elem *key, const struct dset *candidate,
                   const struct match_opts *o)
{
    return is_match_elem_depth(query, key, candidate, o, 0);
}

bool is_universal(const struct dset *query, const struct elem *key)
{
    (void)query; // the key says it all
    return is_universal_depth(key, 0);
}
