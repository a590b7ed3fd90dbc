#include "base/utf8.h"

static size_t lead_length(uint8_t c)
{
    return c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
}

/* Length of the valid sequence at p (n bytes left), 0 when there is none. */
static size_t sequence(const uint8_t *p, size_t n, uint32_t *ret_code)
{
    uint8_t c = p[0];
    size_t  len = lead_length(c);
    if (len == 0 || len > n) {
        return 0;
    }
    static const uint8_t mask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t             code = c & mask[len];
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3FU);
    }
    bool bad = (len == 3 && (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))) ||
               (len == 4 && (code < 0x10000 || code > 0x10FFFF));
    *ret_code = code;
    return bad ? 0 : len;
}

bool utf8_check(struct bytes in, struct str *ret)
{
    for (size_t i = 0; i < in.len;) {
        uint32_t code;
        size_t   n = sequence(in.ptr + i, in.len - i, &code);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    *ret = (struct str){(const char *)in.ptr, in.len};
    return true;
}

void utf8_clean(struct buf *out, struct bytes in)
{
    for (size_t i = 0; i < in.len;) {
        uint32_t code;
        size_t   n = sequence(in.ptr + i, in.len - i, &code);
        if (n == 0) {
            utf8_add(out, 0xFFFD);
            i++;
        } else {
            buf_add(out, (struct bytes){in.ptr + i, n});
            i += n;
        }
    }
}

uint32_t utf8_next(struct str s, size_t *at)
{
    if (*at >= s.len) {
        return 0;
    }
    uint32_t code = 0xFFFD;
    size_t   n = sequence((const uint8_t *)s.ptr + *at, s.len - *at, &code);
    *at += n == 0 ? 1 : n;
    return n == 0 ? 0xFFFD : code;
}

void utf8_add(struct buf *out, uint32_t code)
{
    uint8_t b[4];
    size_t  n;
    if (code < 0x80) {
        b[0] = (uint8_t)code;
        n = 1;
    } else if (code < 0x800) {
        b[0] = (uint8_t)(0xC0 | code >> 6);
        n = 2;
    } else if (code < 0x10000) {
        b[0] = (uint8_t)(0xE0 | code >> 12);
        n = 3;
    } else {
        b[0] = (uint8_t)(0xF0 | code >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++) {
        b[i] = (uint8_t)(0x80 | ((code >> (6 * (n - 1 - i))) & 0x3F));
    }
    buf_add(out, (struct bytes){b, n});
}
