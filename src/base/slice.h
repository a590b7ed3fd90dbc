#pragma once
/*
 * Borrowed views.  A view never owns memory; the comment beside the field that stores one
 * names the owner.  struct bytes is raw input in no known encoding; struct str is always
 * valid UTF-8.  Only dicom/charset.c and base/utf8.c may turn the first into the second.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *ptr;
    size_t         len;
};

struct str {
    const char *ptr;
    size_t      len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline struct bytes str_bytes(struct str s)
{
    return (struct bytes){(const uint8_t *)s.ptr, s.len};
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* View of a C string that is known to be UTF-8 (ours, or checked at the edge).  NULL gives "". */
static inline struct str str_of(const char *z)
{
    return z == NULL ? (struct str){"", 0} : (struct str){z, strlen(z)};
}

/* The next of several values with that character between them; false after the last.  An empty list
 * has one empty value; ptr NULL has none. */
static inline bool str_next(struct str *rest, char between, struct str *ret)
{
    if (rest->ptr == NULL) {
        return false;
    }
    const char *p = rest->len > 0 ? (const char *)memchr(rest->ptr, between, rest->len) : NULL;
    size_t      n = p != NULL ? (size_t)(p - rest->ptr) : rest->len;
    *ret = (struct str){rest->ptr, n};
    *rest = p != NULL ? (struct str){p + 1, rest->len - n - 1} : (struct str){NULL, 0};
    return true;
}

/* For "%.*s": STR_ARG(s) expands to the two arguments. */
#define STR_ARG(s) (int)(s).len, (s).ptr
