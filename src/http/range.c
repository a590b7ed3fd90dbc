#include "http/range.h"

#include <strings.h>

#include "base/num.h"

static struct str trim(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* A number of more digits than fit is beyond every end. */
static bool parse_position(struct str s, uint64_t *ret)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
    }
    if (s.len > 0 && !parse_u64(s, ret)) {
        *ret = UINT64_MAX;
    }
    return s.len > 0;
}

static enum err suffix(struct str digits, uint64_t size, struct range *ret)
{
    uint64_t n = 0;
    if (!parse_position(digits, &n)) {
        return ERR_UNSUPPORTED;
    }
    if (n == 0 || size == 0) {
        return ERR_LIMIT;
    }
    n = n < size ? n : size;
    *ret = (struct range){size - n, n};
    return ERR_OK;
}

enum err range_parse(struct str header, uint64_t size, struct range *ret)
{
    static const char unit[] = "bytes=";
    size_t            skip = sizeof(unit) - 1;
    if (header.len < skip || strncasecmp(header.ptr, unit, skip) != 0) {
        return ERR_UNSUPPORTED;
    }
    struct str  s = trim((struct str){header.ptr + skip, header.len - skip});
    const char *dash = s.len > 0 ? memchr(s.ptr, '-', s.len) : NULL;
    if (dash == NULL) {
        return ERR_UNSUPPORTED;
    }
    struct str from = {s.ptr, (size_t)(dash - s.ptr)};
    struct str to = {dash + 1, s.len - from.len - 1};
    uint64_t   first = 0, last = UINT64_MAX;
    if (from.len == 0) {
        return suffix(to, size, ret);
    }
    if (!parse_position(from, &first) || (to.len > 0 && !parse_position(to, &last)) ||
        last < first) {
        return ERR_UNSUPPORTED;
    }
    if (first >= size) {
        return ERR_LIMIT;
    }
    last = last < size ? last : size - 1;
    *ret = (struct range){first, last - first + 1};
    return ERR_OK;
}
