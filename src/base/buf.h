#pragma once
/*
 * Growing writer with a hard limit.  Sticky like struct cur: after the first failure appends do
 * nothing, and buf_end() reports it once.  The limit is chosen where the buffer is made.
 */
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct buf {
    uint8_t *ptr;
    size_t   len, size, max;
    enum err err;
};

void     buf_init(struct buf *b, size_t max);
void     buf_done(struct buf *b);           // also the cleanup function
uint8_t *buf_grow(struct buf *b, size_t n); // n writable bytes, NULL once failed
void     buf_add(struct buf *b, struct bytes v);
void     buf_u8(struct buf *b, uint8_t v);
void     buf_u16be(struct buf *b, uint16_t v);
void     buf_u16le(struct buf *b, uint16_t v);
void     buf_u32be(struct buf *b, uint32_t v);
void     buf_u32le(struct buf *b, uint32_t v);
void     buf_u64le(struct buf *b, uint64_t v);
void     buf_str(struct buf *b, struct str s);
void     buf_fmt(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void     buf_patch_u32be(struct buf *b, size_t at, uint32_t v); // fill in a length written earlier
void     buf_patch_u32le(struct buf *b, size_t at, uint32_t v);
void     buf_patch_u16be(struct buf *b, size_t at, uint16_t v);
void     buf_clear(struct buf *b); // length 0 and no error; the memory is kept
enum err buf_end(const struct buf *b, struct bytes *ret) MUST_USE;
