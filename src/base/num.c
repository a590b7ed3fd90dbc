#include "base/num.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

static bool digit_value(char c, unsigned base, unsigned *ret)
{
    unsigned v = 99;
    if (c >= '0' && c <= '9') {
        v = (unsigned)(c - '0');
    } else if (c >= 'a' && c <= 'f') {
        v = (unsigned)(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
        v = (unsigned)(c - 'A') + 10;
    }
    *ret = v;
    return v < base;
}

bool parse_u64_base(struct str s, unsigned base, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned d;
        if (!digit_value(s.ptr[i], base, &d) || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, d, &v)) {
            return false;
        }
    }
    if (s.len == 0) {
        return false;
    }
    *ret = v;
    return true;
}

bool parse_u64(struct str s, uint64_t *ret)
{
    return parse_u64_base(s, 10, ret);
}

bool parse_u32(struct str s, uint32_t *ret)
{
    uint64_t v;
    if (!parse_u64(s, &v) || v > UINT32_MAX) {
        return false;
    }
    *ret = (uint32_t)v;
    return true;
}

bool parse_i64(struct str s, int64_t *ret)
{
    bool minus = s.len > 0 && s.ptr[0] == '-';
    if (s.len > 0 && (minus || s.ptr[0] == '+')) {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    uint64_t v;
    if (!parse_u64(s, &v) || v > (uint64_t)INT64_MAX + (minus ? 1U : 0U)) {
        return false;
    }
    *ret = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool parse_double(struct str s, double *ret)
{
    char text[64];
    if (s.len == 0 || s.len >= sizeof(text) || s.ptr[0] == ' ') {
        return false;
    }
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char  *end = NULL;
    double v =
        strtod(text, &end); // allow-banned: the one wrapper; the program never calls setlocale
    if (end != text + s.len || !isfinite(v)) {
        return false;
    }
    *ret = v;
    return true;
}
