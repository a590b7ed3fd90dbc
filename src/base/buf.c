#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){0};
}

uint8_t *buf_grow(struct buf *b, size_t n)
{
    if (b->err != ERR_OK) {
        return NULL;
    }
    if (n > b->max - b->len) {
        b->err = ERR_LIMIT;
        return NULL;
    }
    if (n > b->size - b->len) {
        size_t want = b->size < 256 ? 256 : b->size;
        while (want - b->len < n) {
            want = want > b->max / 2 ? b->max : want * 2;
        }
        uint8_t *p = realloc(b->ptr, want);
        if (p == NULL) {
            b->err = ERR_NOMEM;
            return NULL;
        }
        b->ptr = p;
        b->size = want;
    }
    uint8_t *at = b->ptr + b->len;
    b->len += n;
    return at;
}

void buf_add(struct buf *b, struct bytes v)
{
    uint8_t *p = v.len > 0 ? buf_grow(b, v.len) : NULL;
    if (p != NULL) {
        memcpy(p, v.ptr, v.len);
    }
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_add(b, (struct bytes){&v, 1});
}

static void put_be(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[n - 1 - i] = (uint8_t)(v >> (8 * i));
    }
}

static void put_le(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

static void add_be(struct buf *b, uint64_t v, size_t n)
{
    uint8_t *p = buf_grow(b, n);
    if (p != NULL) {
        put_be(p, v, n);
    }
}

static void add_le(struct buf *b, uint64_t v, size_t n)
{
    uint8_t *p = buf_grow(b, n);
    if (p != NULL) {
        put_le(p, v, n);
    }
}

void buf_u16be(struct buf *b, uint16_t v)
{
    add_be(b, v, 2);
}

void buf_u16le(struct buf *b, uint16_t v)
{
    add_le(b, v, 2);
}

void buf_u32be(struct buf *b, uint32_t v)
{
    add_be(b, v, 4);
}

void buf_u32le(struct buf *b, uint32_t v)
{
    add_le(b, v, 4);
}

void buf_u64le(struct buf *b, uint64_t v)
{
    add_le(b, v, 8);
}

void buf_str(struct buf *b, struct str s)
{
    buf_add(b, str_bytes(s));
}

static bool patchable(const struct buf *b, size_t at, size_t n)
{
    return b->err == ERR_OK && at <= b->len && b->len - at >= n;
}

void buf_patch_u32be(struct buf *b, size_t at, uint32_t v)
{
    if (patchable(b, at, 4)) {
        put_be(b->ptr + at, v, 4);
    }
}

void buf_patch_u32le(struct buf *b, size_t at, uint32_t v)
{
    if (patchable(b, at, 4)) {
        put_le(b->ptr + at, v, 4);
    }
}

void buf_patch_u16be(struct buf *b, size_t at, uint16_t v)
{
    if (patchable(b, at, 2)) {
        put_be(b->ptr + at, v, 2);
    }
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->err = ERR_OK;
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    char    text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        b->err = b->err != ERR_OK ? b->err : ERR_LIMIT;
        return;
    }
    buf_add(b, (struct bytes){(const uint8_t *)text, (size_t)n});
}

enum err buf_end(const struct buf *b, struct bytes *ret)
{
    if (b->err == ERR_OK) {
        *ret = (struct bytes){b->ptr, b->len};
    }
    return b->err;
}
