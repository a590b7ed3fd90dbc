#pragma once
/*
 * Bounded reader.  Every byte from a peer, a file or another process is read through one.
 *
 * The error is sticky: after the first failure every read returns zero and nothing advances,
 * so a parser reads a whole record in straight lines and asks once, with cur_end(), whether it
 * was all there and nothing was left over.  Lengths are always compared with what is left;
 * pointers are never added to before that.
 */
#include "base/err.h"
#include "base/slice.h"

struct cur {
    const uint8_t *p, *end;
    enum err       err;
};

static inline struct cur cur_of(struct bytes b)
{
    return (struct cur){.p = b.ptr, .end = b.len > 0 ? b.ptr + b.len : b.ptr};
}

static inline size_t cur_left(const struct cur *c)
{
    return (size_t)(c->end - c->p);
}

static inline void cur_fail(struct cur *c, enum err code)
{
    if (c->err == ERR_OK) {
        c->err = code;
    }
    c->p = c->end; // loops of the form while (cur_left(c) > 0) stop
}

/* Take n bytes, or an empty view and a failed cursor. */
static inline struct bytes cur_bytes(struct cur *c, size_t n)
{
    if (n > cur_left(c)) {
        cur_fail(c, ERR_SYNTAX);
        return (struct bytes){0};
    }
    struct bytes b = {c->p, n};
    if (n > 0) {
        c->p += n;
    }
    return b;
}

static inline uint8_t cur_u8(struct cur *c)
{
    struct bytes b = cur_bytes(c, 1);
    return b.len == 1 ? b.ptr[0] : 0;
}

static inline uint16_t cur_u16be(struct cur *c)
{
    struct bytes b = cur_bytes(c, 2);
    return (uint16_t)(b.len == 2 ? b.ptr[0] << 8 | b.ptr[1] : 0);
}

static inline uint32_t cur_u32be(struct cur *c)
{
    struct bytes b = cur_bytes(c, 4);
    return b.len == 4 ? (uint32_t)b.ptr[0] << 24 | (uint32_t)b.ptr[1] << 16 |
                            (uint32_t)b.ptr[2] << 8 | b.ptr[3]
                      : 0;
}

static inline uint16_t cur_u16le(struct cur *c)
{
    struct bytes b = cur_bytes(c, 2);
    return (uint16_t)(b.len == 2 ? b.ptr[1] << 8 | b.ptr[0] : 0);
}

static inline uint32_t cur_u32le(struct cur *c)
{
    struct bytes b = cur_bytes(c, 4);
    return b.len == 4 ? (uint32_t)b.ptr[3] << 24 | (uint32_t)b.ptr[2] << 16 |
                            (uint32_t)b.ptr[1] << 8 | b.ptr[0]
                      : 0;
}

static inline uint64_t cur_u64le(struct cur *c)
{
    uint64_t lo = cur_u32le(c);
    uint64_t hi = cur_u32le(c);
    return hi << 32 | lo;
}

/* A child confined to the next n bytes; the parent steps over them now. */
static inline struct cur cur_sub(struct cur *c, size_t n)
{
    struct cur sub = cur_of(cur_bytes(c, n));
    sub.err = c->err;
    return sub;
}

/* The record is over: first error, or ERR_SYNTAX when bytes are left. */
static inline enum err cur_end(struct cur *c)
{
    if (cur_left(c) > 0) {
        cur_fail(c, ERR_SYNTAX);
    }
    return c->err;
}
