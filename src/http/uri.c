#include "http/uri.h"

#include "base/utf8.h"

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The decoded copy of one part, never longer than the part. */
static enum err decode(struct bytes in, bool plus, struct arena *a, struct str *ret,
                       struct errmsg *e)
{
    uint8_t *out = arena_alloc(a, in.len + 1, 1);
    size_t   n = 0;
    if (out == NULL) {
        return err_set(e, ERR_LIMIT, "request target is too long");
    }
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.ptr[i];
        if (c == '%') {
            int high = in.len - i > 2 ? hex(in.ptr[i + 1]) : -1;
            int low = in.len - i > 2 ? hex(in.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return err_set(e, ERR_SYNTAX, "bad escape in the request target");
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == 0) {
            return err_set(e, ERR_SYNTAX, "NUL in the request target");
        }
        out[n++] = c;
    }
    return utf8_check((struct bytes){out, n}, ret)
               ? ERR_OK
               : err_set(e, ERR_SYNTAX, "request target is not UTF-8");
}

/* Cuts what is before the separator off the front of *rest; the whole of it when there is none. */
static struct bytes cut(struct bytes *rest, char separator)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    struct bytes   part = *rest;
    if (at == NULL) {
        *rest = (struct bytes){0};
        return part;
    }
    part.len = (size_t)(at - rest->ptr);
    *rest = (struct bytes){at + 1, rest->len - part.len - 1};
    return part;
}

static enum err parse_path(struct bytes path, struct arena *a, struct uri *u, struct errmsg *e)
{
    if (path.len == 0 || path.ptr[0] != '/') {
        return err_set(e, ERR_SYNTAX, "request target does not begin with /");
    }
    path = (struct bytes){path.ptr + 1, path.len - 1};
    while (path.ptr != NULL && (path.len > 0 || u->segments > 0)) {
        struct str s = {0};
        if (u->segments == URI_SEGMENTS) {
            return err_set(e, ERR_LIMIT, "more than %d parts in the path", URI_SEGMENTS);
        }
        enum err rc = decode(cut(&path, '/'), false, a, &s, e);
        if (rc != ERR_OK) {
            return rc;
        }
        if (str_eq(s, STR(".")) || str_eq(s, STR(".."))) {
            return err_set(e, ERR_SYNTAX, "dots as a part of the path");
        }
        u->segment[u->segments++] = s;
    }
    return ERR_OK;
}

static enum err parse_query(struct bytes query, struct arena *a, struct uri *u, struct errmsg *e)
{
    size_t most = 1;
    for (size_t i = 0; i < query.len; i++) {
        most += query.ptr[i] == '&';
    }
    if (query.len == 0) {
        return ERR_OK;
    }
    if (most > URI_QUERIES) {
        return err_set(e, ERR_LIMIT, "more than %d parameters", URI_QUERIES);
    }
    u->query = arena_array(a, most, struct http_pair);
    if (u->query == NULL) {
        return err_set(e, ERR_LIMIT, "request target is too long");
    }
    while (query.len > 0) {
        struct bytes      value = cut(&query, '&');
        struct bytes      name = cut(&value, '=');
        struct http_pair *p = &u->query[u->queries];
        enum err          rc = decode(name, true, a, &p->name, e);
        rc = rc != ERR_OK ? rc : decode(value, true, a, &p->value, e);
        if (rc != ERR_OK) {
            return rc;
        }
        u->queries += p->name.len > 0; // "&&" and "=x" say nothing
    }
    return ERR_OK;
}

/* "http://host/path" is asked of proxies, and must be understood by servers (RFC 9112 3.2.2). */
static struct bytes without_authority(struct bytes raw)
{
    const uint8_t *at = raw.len > 0 ? memmem(raw.ptr, raw.len, "://", 3) : NULL;
    if (raw.len == 0 || raw.ptr[0] == '/' || at == NULL) {
        return raw;
    }
    struct bytes   rest = {at + 3, raw.len - (size_t)(at + 3 - raw.ptr)};
    const uint8_t *path = rest.len > 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
    return path == NULL ? (struct bytes){(const uint8_t *)"/", 1}
                        : (struct bytes){path, rest.len - (size_t)(path - rest.ptr)};
}

enum err uri_parse(struct bytes raw, struct arena *a, struct uri *ret, struct errmsg *e)
{
    struct uri   u = {0};
    struct bytes query = without_authority(raw);
    struct bytes path = cut(&query, '?');
    enum err     rc = parse_path(path, a, &u, e);
    rc = rc != ERR_OK ? rc : parse_query(query, a, &u, e);
    if (rc == ERR_OK) {
        *ret = u;
    }
    return rc;
}
