#include "pack/jsonr.h"

#include "base/buf.h"
#include "base/num.h"
#include "base/utf8.h"

enum { SKIP_DEPTH = 64 }; // what is skipped is what a later version may have added

void jsonr_init(struct jsonr *r, struct bytes json, struct arena *a)
{
    *r = (struct jsonr){.c = cur_of(json), .arena = a};
}

static int peek(struct jsonr *r)
{
    while (cur_left(&r->c) > 0) {
        uint8_t b = *r->c.p;
        if (b != ' ' && b != '\n' && b != '\r' && b != '\t') {
            return b;
        }
        (void)cur_u8(&r->c);
    }
    return -1;
}

static bool take(struct jsonr *r, char c)
{
    if (peek(r) != c) {
        return false;
    }
    (void)cur_u8(&r->c);
    return true;
}

static void need(struct jsonr *r, char c)
{
    if (!take(r, c)) {
        cur_fail(&r->c, ERR_SYNTAX);
    }
}

/* At the end of the object or array, or past the comma before its next member. */
static bool next(struct jsonr *r, char close)
{
    bool first = r->first;
    r->first = false;
    if (r->c.err != ERR_OK || take(r, close)) {
        return false;
    }
    if (!first) {
        need(r, ',');
    }
    return r->c.err == ERR_OK;
}

void jsonr_obj(struct jsonr *r)
{
    need(r, '{');
    r->first = true;
}

void jsonr_arr(struct jsonr *r)
{
    need(r, '[');
    r->first = true;
}

bool jsonr_item(struct jsonr *r)
{
    return next(r, ']');
}

bool jsonr_key(struct jsonr *r, struct str *ret)
{
    if (!next(r, '}')) {
        return false;
    }
    struct str k = jsonr_str(r);
    need(r, ':');
    if (r->c.err != ERR_OK) {
        return false;
    }
    *ret = k;
    return true;
}

static uint32_t hex4(struct cur *c)
{
    struct bytes b = cur_bytes(c, 4);
    uint64_t     v = 0;
    if (b.len != 4 || !parse_u64_base((struct str){(const char *)b.ptr, 4}, 16, &v)) {
        cur_fail(c, ERR_SYNTAX);
    }
    return (uint32_t)v;
}

static uint32_t unicode_escape(struct cur *c)
{
    uint32_t u = hex4(c);
    if (u >= 0xD800 && u <= 0xDBFF) {
        struct bytes b = cur_bytes(c, 2);
        uint32_t     low = b.len == 2 && b.ptr[0] == '\\' && b.ptr[1] == 'u' ? hex4(c) : 0;
        u = low >= 0xDC00 && low <= 0xDFFF ? 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00) : 0;
    } else if (u >= 0xDC00 && u <= 0xDFFF) {
        u = 0;
    }
    if (u == 0) { // half a pair; NUL, which no text of ours holds
        cur_fail(c, ERR_SYNTAX);
    }
    return u;
}

static void unescape(struct cur *c, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    while (cur_left(c) > 0) {
        uint8_t b = cur_u8(c);
        if (b != '\\') {
            buf_u8(out, b);
            continue;
        }
        b = cur_u8(c);
        const char *p = b != 0 ? strchr(from, b) : NULL;
        if (p != NULL) {
            buf_u8(out, (uint8_t)to[p - from]);
        } else if (b == 'u') {
            utf8_add(out, unicode_escape(c));
        } else {
            cur_fail(c, ERR_SYNTAX);
        }
    }
}

/* The bytes between the quotes, escapes still in them. */
static struct bytes quoted(struct jsonr *r, bool *ret_escapes)
{
    need(r, '"');
    const uint8_t *from = r->c.p;
    size_t         n = 0;
    *ret_escapes = false;
    for (;;) {
        if (cur_left(&r->c) == 0) {
            cur_fail(&r->c, ERR_SYNTAX);
            return (struct bytes){0};
        }
        uint8_t b = cur_u8(&r->c);
        if (b == '"') {
            return (struct bytes){from, n};
        }
        if (b < 0x20) {
            cur_fail(&r->c, ERR_SYNTAX);
            return (struct bytes){0};
        }
        n++;
        if (b == '\\') {
            *ret_escapes = true;
            (void)cur_u8(&r->c);
            n++;
        }
    }
}

struct str jsonr_str(struct jsonr *r)
{
    const struct str none = {"", 0};
    bool             escapes;
    struct bytes     raw = quoted(r, &escapes);
    struct str       s = none;
    if (r->c.err != ERR_OK) {
        return none;
    }
    if (!escapes) {
        if (!utf8_check(raw, &s)) {
            cur_fail(&r->c, ERR_SYNTAX);
            return none;
        }
        return s;
    }
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, raw.len);
    struct cur   c = cur_of(raw);
    struct bytes out = {0};
    unescape(&c, &text);
    if (cur_end(&c) != ERR_OK || buf_end(&text, &out) != ERR_OK || !utf8_check(out, &s)) {
        cur_fail(&r->c, ERR_SYNTAX);
        return none;
    }
    s = arena_str(r->arena, s);
    if (s.ptr == NULL) {
        cur_fail(&r->c, ERR_LIMIT);
        return none;
    }
    return s;
}

/* The characters a number, true, false or null is made of. */
static struct str word(struct jsonr *r)
{
    (void)peek(r);
    const char *from = (const char *)r->c.p;
    size_t      n = 0;
    while (n < cur_left(&r->c)) {
        char c = from[n];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
              c == '.' || c == 'E')) {
            break;
        }
        n++;
    }
    (void)cur_bytes(&r->c, n);
    return (struct str){from, n};
}

uint64_t jsonr_u64(struct jsonr *r)
{
    uint64_t v = 0;
    if (!parse_u64(word(r), &v)) {
        cur_fail(&r->c, ERR_SYNTAX);
        return 0;
    }
    return v;
}

int64_t jsonr_i64(struct jsonr *r)
{
    int64_t v = 0;
    if (!parse_i64(word(r), &v)) {
        cur_fail(&r->c, ERR_SYNTAX);
        return 0;
    }
    return v;
}

static bool is_literal(struct str w)
{
    double d;
    return str_eq(w, STR("true")) || str_eq(w, STR("false")) || str_eq(w, STR("null")) ||
           parse_double(w, &d);
}

static void skip(struct jsonr *r, unsigned depth)
{
    struct str k;
    bool       escapes;
    int        c = peek(r);
    if (depth == 0) {
        cur_fail(&r->c, ERR_LIMIT);
    } else if (c == '{') {
        jsonr_obj(r);
        while (jsonr_key(r, &k)) {
            skip(r, depth - 1);
        }
    } else if (c == '[') {
        jsonr_arr(r);
        while (jsonr_item(r)) {
            skip(r, depth - 1);
        }
    } else if (c == '"') {
        (void)quoted(r, &escapes);
    } else if (!is_literal(word(r))) {
        cur_fail(&r->c, ERR_SYNTAX);
    }
}

void jsonr_skip(struct jsonr *r)
{
    skip(r, SKIP_DEPTH);
}

enum err jsonr_end(struct jsonr *r)
{
    (void)peek(r);
    return cur_end(&r->c);
}
