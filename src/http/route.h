#pragma once
/*
 * Which row of the table a request belongs to.  Pure.
 */
#include "http/http.h"

enum { ROUTE_PARAMS = 12 };

struct route_match {
    const struct http_route *route;
    size_t                   params;
    struct http_pair         param[ROUTE_PARAMS]; // names point into the pattern
    unsigned                 allowed;             // bit 1 << method of every row that fits the path
};

/* ERR_NOTFOUND: no row has this path; ERR_UNSUPPORTED: not by this method (see allowed). */
enum err    route_find(const struct http_route *routes, size_t n, int method, const struct uri *u,
                       struct arena *a, struct route_match *ret);
/* Is the pattern one?  Asked once, at the start. */
bool        is_route(const struct http_route *r);
/* -1: none that we know. */
int         method_of(const char *z);
const char *method_name(int method);
