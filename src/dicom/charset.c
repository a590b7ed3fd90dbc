#include "dicom/charset.h"

#include "base/utf8.h"
#include "dicom/charset_priv.h"

enum { ESC = 0x1B, REPLACEMENT = 0xFFFD };

enum kind {
    END,
    TEXT,      // a run of one set
    CONTROL,   // one byte
    DELIMITER, // one byte
    BAD        // one byte
};

struct piece {
    enum kind    kind;
    enum set     set;
    struct bytes run;
};

/* Where a walk through a text stands: PS3.5 6.1.2.5. */
struct scan {
    const struct plan *plan;
    enum vr            vr;
    struct bytes       in;
    size_t             at;
    enum set           g0, g1;
};

static struct scan scan_of(const struct plan *p, enum vr vr, struct bytes in)
{
    return (struct scan){.plan = p, .vr = vr, .in = in, .g0 = p->g0, .g1 = p->g1};
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || c == 0x7F;
}

static bool is_delimiter(enum vr vr, uint32_t c)
{
    if (vr == VR_PN && (c == '^' || c == '=')) {
        return true;
    }
    return c == '\\' && vr != VR_ST && vr != VR_LT && vr != VR_UT && vr != VR_UR;
}

static void scan_reset(struct scan *s)
{
    s->g0 = s->plan->g0;
    s->g1 = s->plan->g1;
}

static struct piece scan_take(struct scan *s, enum kind kind, enum set set, size_t n)
{
    struct piece p = {kind, set, {s->in.ptr + s->at, n}};
    s->at += n;
    return p;
}

/* A text in one set, without escapes: runs between delimiters. */
static struct piece scan_alone(struct scan *s)
{
    enum set set = s->plan->alone;
    size_t   n = 0;
    size_t   left = s->in.len - s->at;
    while (n < left && !is_delimiter(s->vr, s->in.ptr[s->at + n])) {
        n += set_step(set, s->in.ptr + s->at + n, left - n);
    }
    return n == 0 ? scan_take(s, DELIMITER, set, 1) : scan_take(s, TEXT, set, n);
}

/* Bytes from lo to hi in pairs, as many as there are. */
static size_t pairs(const struct scan *s, uint8_t lo, uint8_t hi)
{
    size_t n = 0;
    for (const uint8_t *p = s->in.ptr + s->at; s->in.len - s->at - n >= 2; n += 2) {
        if (p[n] < lo || p[n] > hi || p[n + 1] < lo || p[n + 1] > hi) {
            break;
        }
    }
    return n;
}

static struct piece scan_low(struct scan *s)
{
    uint8_t b = s->in.ptr[s->at];
    if (set_width(s->g0) == 2 && b != ' ') {
        size_t n = pairs(s, 0x21, 0x7E); // ^ = \ may be in it: only an escape ends this set
        return n == 0 ? scan_take(s, BAD, SET_NONE, 1) : scan_take(s, TEXT, s->g0, n);
    }
    if (is_delimiter(s->vr, b)) {
        scan_reset(s);
        return scan_take(s, DELIMITER, SET_ASCII, 1);
    }
    if (b == ' ') { // in every set
        return scan_take(s, TEXT, SET_ASCII, 1);
    }
    size_t n = 1;
    while (s->at + n < s->in.len) {
        b = s->in.ptr[s->at + n];
        if (b >= 0x80 || is_control(b) || is_delimiter(s->vr, b) ||
            (b == ' ' && s->g0 != SET_ASCII)) {
            break;
        }
        n++;
    }
    return scan_take(s, TEXT, s->g0, n);
}

/* What bytes above 7F are when no escape sequence has said it. */
static enum set undesignated(const struct plan *p)
{
    for (size_t i = 0; i < p->n_also; i++) {
        if (!is_set_g0(p->also[i])) {
            return p->also[i];
        }
    }
    return SET_CP1252;
}

static struct piece scan_high(struct scan *s)
{
    size_t n = 0;
    while (s->at + n < s->in.len && s->in.ptr[s->at + n] >= 0x80) {
        n++;
    }
    struct str text;
    if (s->plan->utf8 && utf8_check((struct bytes){s->in.ptr + s->at, n}, &text)) {
        return scan_take(s, TEXT, SET_UTF8, n);
    }
    enum set set = s->g1 != SET_NONE ? s->g1 : undesignated(s->plan);
    if (set_width(set) == 2) {
        n = pairs(s, 0xA1, 0xFE);
    }
    return n == 0 ? scan_take(s, BAD, SET_NONE, 1) : scan_take(s, TEXT, set, n);
}

/* Follow an escape sequence; false when it designates nothing known. */
static bool scan_escape(struct scan *s)
{
    size_t   n;
    bool     g0;
    size_t   after = s->at + 1;
    enum set set = set_of_escape((struct bytes){s->in.ptr + after, s->in.len - after}, &n, &g0);
    if (set == SET_NONE) {
        return false;
    }
    if (g0) {
        s->g0 = set;
    } else {
        s->g1 = set;
    }
    s->at = after + n;
    return true;
}

static struct piece scan_next(struct scan *s)
{
    while (s->at < s->in.len) {
        uint8_t b = s->in.ptr[s->at];
        if (s->plan->alone != SET_NONE) {
            return scan_alone(s);
        }
        if (b == ESC) {
            if (!scan_escape(s)) {
                return scan_take(s, BAD, SET_NONE, 1);
            }
        } else if (is_control(b)) {
            scan_reset(s);
            return scan_take(s, CONTROL, SET_ASCII, 1);
        } else {
            return b < 0x80 ? scan_low(s) : scan_high(s);
        }
    }
    return (struct piece){.kind = END};
}

static void decode(const struct plan *plan, enum vr vr, struct bytes in, struct buf *out)
{
    struct conv conv;
    conv_init(&conv, false);
    struct scan s = scan_of(plan, vr, in);
    for (struct piece p = scan_next(&s); p.kind != END; p = scan_next(&s)) {
        if (p.kind == BAD) {
            utf8_add(out, REPLACEMENT);
        } else if (p.kind == TEXT) {
            set_decode(&conv, p.set, p.run, out);
        } else {
            buf_add(out, p.run);
        }
    }
    conv_done(&conv);
}

void charset_decode(struct bytes specific, enum vr vr, struct bytes in, struct buf *out)
{
    struct plan plan;
    plan_parse(specific, &plan);
    decode(&plan, vr, in, out);
}

bool charset_next(struct bytes specific, enum vr vr, struct bytes in, size_t *at,
                  struct bytes *ret_value)
{
    if (in.len == 0 || *at > in.len) {
        return false;
    }
    struct plan plan;
    plan_parse(specific, &plan);
    struct bytes rest = {in.ptr + *at, in.len - *at};
    struct scan  s = scan_of(&plan, vr, rest);
    size_t       end = rest.len;
    for (struct piece p = scan_next(&s); p.kind != END; p = scan_next(&s)) {
        if (p.kind == DELIMITER && p.run.ptr[0] == '\\') {
            end = s.at - 1;
            break;
        }
    }
    *ret_value = (struct bytes){rest.ptr, end};
    *at += end + 1;
    return true;
}

struct writer {
    const struct plan *plan;
    struct conv        conv;
    struct buf        *out;
    enum vr            vr;
    enum set           start1; // G1 at the start: sets of two bytes are always designated
    enum set           g0, g1;
    bool               low_only; // no byte above 7F: it would be read as UTF-8
};

static void designate(struct writer *w, enum set s)
{
    buf_u8(w->out, ESC);
    buf_str(w->out, set_escape(s));
    if (is_set_g0(s)) {
        w->g0 = s;
    } else {
        w->g1 = s;
    }
}

/* PS3.5 6.1.2.5.3: value 1 is in force again before delimiters, control characters and the end. */
static void back_to_start(struct writer *w)
{
    if (w->g0 != w->plan->g0) {
        designate(w, w->plan->g0);
    }
    if (w->g1 != w->start1 && w->start1 != SET_NONE) {
        designate(w, w->start1);
    }
    w->g1 = w->start1;
}

static void put_unknown(struct writer *w)
{
    if (set_width(w->g0) == 2) {
        designate(w, w->plan->g0);
    }
    buf_u8(w->out, '?');
}

static bool put_character(struct writer *w, uint32_t code, struct str character)
{
    const struct plan *p = w->plan;
    uint8_t            b[8];
    if (p->alone == SET_UTF8) {
        buf_str(w->out, character);
        return true;
    }

    enum set try[CHARSET_SETS + 4] = {p->alone};

    size_t n_try = 1;
    if (p->alone == SET_NONE) {
        const enum set first[] = {w->g0, w->g1, p->g0, w->start1};

        memcpy(try, first, sizeof(first));
        memcpy(try + 4, p->also, p->n_also * sizeof(try[0]));
        n_try = 4 + p->n_also;
    }
    for (size_t i = 0; i < n_try; i++) {
        size_t n = set_encode(&w->conv, try[i], code, character, b);
        bool   yen = n == 1 && b[0] == '\\' && code != '\\' && is_delimiter(w->vr, '\\');
        bool   high = n > 0 && b[0] >= 0x80 && w->low_only;
        if (n > 0 && !yen && !high) { // a yen sign at 5C would be read as the delimiter of values
            if (p->alone == SET_NONE && try[i] != w->g0 && try[i] != w->g1) {
                designate(w, try[i]);
            }
            buf_add(w->out, (struct bytes){b, n});
            return true;
        }
    }
    put_unknown(w);
    return false;
}

static bool encode(const struct plan *plan, enum vr vr, struct str utf8, bool low_only,
                   struct buf *out)
{
    struct writer w = {.plan = plan,
                       .out = out,
                       .vr = vr,
                       .start1 = set_width(plan->g1) == 1 ? plan->g1 : SET_NONE,
                       .g0 = plan->g0,
                       .low_only = low_only};
    w.g1 = w.start1;
    conv_init(&w.conv, true);
    bool   all = true;
    size_t at = 0;
    while (at < utf8.len) {
        size_t     from = at;
        uint32_t   code = utf8_next(utf8, &at);
        struct str character = {utf8.ptr + from, at - from};
        if (code == ESC && plan->alone == SET_NONE) {
            put_unknown(&w); // it would begin an escape sequence
            all = false;
        } else if (is_control(code) || is_delimiter(vr, code)) {
            back_to_start(&w);
            buf_u8(out, (uint8_t)code);
        } else {
            all = put_character(&w, code, character) && all;
        }
    }
    back_to_start(&w);
    conv_done(&w.conv);
    return all;
}

static bool is_read_back(const struct plan *plan, enum vr vr, struct bytes raw, struct str utf8)
{
    CLEANUP(buf_done) struct buf back;
    buf_init(&back, utf8.len + 1);
    decode(plan, vr, raw, &back);
    return back.err == ERR_OK && bytes_eq((struct bytes){back.ptr, back.len}, str_bytes(utf8));
}

bool charset_encode(struct bytes specific, enum vr vr, struct str utf8, struct buf *out)
{
    struct plan plan;
    plan_parse(specific, &plan);
    size_t start = out->len;
    bool   all = encode(&plan, vr, utf8, false, out);
    if (!all || out->err != ERR_OK || !plan.utf8 || plan.alone != SET_NONE || utf8.len == 0 ||
        is_read_back(&plan, vr, (struct bytes){out->ptr + start, out->len - start}, utf8)) {
        return all;
    }
    out->len = start;
    (void)encode(&plan, vr, utf8, true, out);
    return false;
}

bool is_charset_known(struct bytes specific)
{
    struct plan plan;
    plan_parse(specific, &plan);
    return plan.known;
}
