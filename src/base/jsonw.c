#include "base/jsonw.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/num.h"

void jsonw_init(struct jsonw *w, struct buf *out)
{
    *w = (struct jsonw){.out = out, .first = {1}};
}

/* The comma before every value of an array and every key of an object but the first. */
static void comma(struct jsonw *w)
{
    uint8_t *b = &w->first[w->depth / 8];
    uint8_t  bit = (uint8_t)(1U << (w->depth % 8));
    if ((*b & bit) == 0) {
        buf_u8(w->out, ',');
    }
    *b = (uint8_t)(*b & ~bit);
}

static void open_level(struct jsonw *w, uint8_t c)
{
    comma(w);
    buf_u8(w->out, c);
    w->depth++;
    assert(w->depth < 8 * sizeof(w->first));
    w->first[w->depth / 8] |= (uint8_t)(1U << (w->depth % 8));
}

static void close_level(struct jsonw *w, uint8_t c)
{
    assert(w->depth > 0);
    w->depth--;
    buf_u8(w->out, c);
}

void jsonw_obj(struct jsonw *w)
{
    open_level(w, '{');
}

void jsonw_obj_end(struct jsonw *w)
{
    close_level(w, '}');
}

void jsonw_arr(struct jsonw *w)
{
    open_level(w, '[');
}

void jsonw_arr_end(struct jsonw *w)
{
    close_level(w, ']');
}

static void quoted(struct buf *out, struct str s)
{
    buf_u8(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buf_str(out, (struct str){s.ptr + from, i - from});
        from = i + 1;
        if (c == '"' || c == '\\') {
            buf_u8(out, '\\');
            buf_u8(out, c);
        } else {
            buf_fmt(out, "\\u%04x", c);
        }
    }
    if (from < s.len) {
        buf_str(out, (struct str){s.ptr + from, s.len - from});
    }
    buf_u8(out, '"');
}

void jsonw_key(struct jsonw *w, struct str key)
{
    comma(w);
    quoted(w->out, key);
    buf_u8(w->out, ':');
    w->first[w->depth / 8] |= (uint8_t)(1U << (w->depth % 8)); // its value takes no comma
}

void jsonw_str(struct jsonw *w, struct str s)
{
    comma(w);
    quoted(w->out, s);
}

void jsonw_i64(struct jsonw *w, int64_t v)
{
    comma(w);
    buf_fmt(w->out, "%lld", (long long)v);
}

void jsonw_u64(struct jsonw *w, uint64_t v)
{
    comma(w);
    buf_fmt(w->out, "%llu", (unsigned long long)v);
}

void jsonw_double(struct jsonw *w, double v)
{
    if (!isfinite(v)) {
        jsonw_null(w);
        return;
    }
    comma(w);
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        int    n = snprintf(text, sizeof(text), "%.*g", digits, v);
        double back = 0;
        if (n > 0 && parse_double((struct str){text, (size_t)n}, &back) && back == v) {
            break;
        }
    }
    buf_str(w->out, str_of(text));
}

void jsonw_bool(struct jsonw *w, bool v)
{
    jsonw_raw(w, v ? STR("true") : STR("false"));
}

void jsonw_null(struct jsonw *w)
{
    jsonw_raw(w, STR("null"));
}

void jsonw_raw(struct jsonw *w, struct str json)
{
    comma(w);
    buf_str(w->out, json);
}
