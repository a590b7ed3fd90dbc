#pragma once
/*
 * Request target: "/a/b%20c?x=1&y" into decoded segments and query pairs (RFC 3986, and "+" for a
 * space in the query, as forms do).
 *
 * Pure; the views are into the arena.  Strict, since path and query decide what is given away: a
 * bad escape, a NUL, text that is not UTF-8, "." and ".." as a segment are ERR_SYNTAX; too many
 * parts are ERR_LIMIT.
 */
#include "base/arena.h"
#include "base/err.h"

enum { URI_SEGMENTS = 24, URI_QUERIES = 512 };

struct http_pair {
    struct str name, value;
};

struct uri {
    struct str        segment[URI_SEGMENTS]; // "/": none; "/a/": "a" and ""
    size_t            segments;
    struct http_pair *query;
    size_t            queries;
};

/* Also takes the absolute form, "http://host/path". */
enum err uri_parse(struct bytes raw, struct arena *a, struct uri *ret, struct errmsg *e);
