#pragma once
/*
 * The Range header (RFC 9110 14.2), one range of bytes.
 */
#include "base/err.h"
#include "base/slice.h"

struct range {
    uint64_t first, len;
};

/*
 * ERR_OK: a part of size bytes, len > 0.  ERR_LIMIT: well formed, but beyond the end (416).
 * ERR_UNSUPPORTED: another unit, several ranges, or not well formed: the header is to be ignored.
 */
enum err range_parse(struct str header, uint64_t size, struct range *ret);
