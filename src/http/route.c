#include "http/route.h"

static const char *const methods[] = {
    [HTTP_GET] = "GET",       [HTTP_POST] = "POST",       [HTTP_PUT] = "PUT",
    [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
};
_Static_assert(sizeof(methods) / sizeof(methods[0]) == HTTP_METHOD__COUNT, "name every method");

int method_of(const char *z)
{
    for (int i = 0; i < HTTP_METHOD__COUNT; i++) {
        if (strcmp(methods[i], z) == 0) {
            return i;
        }
    }
    return strcmp(z, "HEAD") == 0 ? HTTP_GET : -1;
}

const char *method_name(int method)
{
    return method >= 0 && method < HTTP_METHOD__COUNT ? methods[method] : "?";
}

/* The next part of a pattern, without its slash; ptr NULL at the end. */
static struct str next_part(const char **pattern)
{
    if (**pattern == '\0') {
        return (struct str){0};
    }
    struct str part = {*pattern + 1, strcspn(*pattern + 1, "/")};
    *pattern = part.ptr + part.len;
    return part;
}

static bool is_param(struct str part)
{
    return part.len > 2 && part.ptr[0] == '{' && part.ptr[part.len - 1] == '}';
}

static bool is_rest(struct str part)
{
    return is_param(part) && part.ptr[part.len - 2] == '*';
}

/* "{name}", "{name*}" at the end, or plain text. */
static bool is_part(struct str part, bool last)
{
    if (is_param(part)) {
        return last || !is_rest(part);
    }
    return part.ptr != NULL && memchr(part.ptr, '{', part.len) == NULL;
}

bool is_route(const struct http_route *r)
{
    const char *p = r->pattern;
    size_t      params = 0;
    if (r->handle == NULL || *p != '/') {
        return false;
    }
    while (p[0] != '\0' && p[1] != '\0') {
        struct str part = next_part(&p);
        params += is_param(part);
        if (!is_part(part, *p == '\0')) {
            return false;
        }
    }
    return params <= ROUTE_PARAMS;
}

/* What is left of the path as one text.  An escaped slash would change its meaning: refused. */
static bool join(const struct uri *u, size_t from, struct arena *a, struct str *ret)
{
    size_t len = 0;
    for (size_t i = from; i < u->segments; i++) {
        if (memchr(u->segment[i].ptr, '/', u->segment[i].len) != NULL) {
            return false;
        }
        len += u->segment[i].len + 1;
    }
    char  *z = arena_alloc(a, len + 1, 1);
    size_t n = 0;
    if (z == NULL) {
        return false;
    }
    for (size_t i = from; i < u->segments; i++) {
        if (i > from) {
            z[n++] = '/';
        }
        memcpy(z + n, u->segment[i].ptr, u->segment[i].len);
        n += u->segment[i].len;
    }
    *ret = (struct str){z, n};
    return true;
}

static bool fits(const char *pattern, const struct uri *u, struct arena *a, struct route_match *m)
{
    m->params = 0;
    if (pattern[1] == '\0') {
        return u->segments == 0;
    }
    size_t i = 0;
    for (struct str part; (part = next_part(&pattern)).ptr != NULL; i++) {
        struct http_pair *p = &m->param[m->params];
        if (is_rest(part)) {
            p->name = (struct str){part.ptr + 1, part.len - 3};
            m->params++;
            return i < u->segments && join(u, i, a, &p->value);
        }
        if (i >= u->segments) {
            return false;
        }
        struct str s = u->segment[i];
        if (!is_param(part)) {
            if (!str_eq(part, s)) {
                return false;
            }
            continue;
        }
        if (s.len == 0 || memchr(s.ptr, '/', s.len) != NULL) {
            return false;
        }
        p->name = (struct str){part.ptr + 1, part.len - 2};
        p->value = s;
        m->params++;
    }
    return i == u->segments;
}

enum err route_find(const struct http_route *routes, size_t n, int method, const struct uri *u,
                    struct arena *a, struct route_match *ret)
{
    unsigned allowed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!fits(routes[i].pattern, u, a, ret)) {
            continue;
        }
        if ((int)routes[i].method == method) {
            ret->route = &routes[i];
            return ERR_OK;
        }
        allowed |= 1U << routes[i].method;
    }
    ret->allowed = allowed;
    return allowed != 0 ? ERR_UNSUPPORTED : ERR_NOTFOUND;
}
