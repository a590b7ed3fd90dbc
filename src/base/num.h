#pragma once
/*
 * Text to number and checked arithmetic.  The only place where digits become integers.
 *
 * Parsers take the whole text (no sign for unsigned, no spaces, no leading '+') and return false
 * when it is empty, has another character, or does not fit.  *ret is written only on success.
 */
#include "base/attr.h"
#include "base/slice.h"

bool parse_u32(struct str s, uint32_t *ret) MUST_USE;
bool parse_u64(struct str s, uint64_t *ret) MUST_USE;
bool parse_i64(struct str s, int64_t *ret) MUST_USE; // an optional leading '-' or '+'
bool parse_u64_base(struct str s, unsigned base, uint64_t *ret) MUST_USE; // base 8, 10 or 16
bool parse_double(struct str s, double *ret) MUST_USE;                    // C locale, finite only

static inline bool size_add(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

static inline bool size_mul(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

static inline bool u64_add(uint64_t a, uint64_t b, uint64_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}
