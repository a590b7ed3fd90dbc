#pragma once
/*
 * Inside of dicomweb: one table of routes a file, each written once for both roots.
 */
#include "base/limits.h"
#include "dicomweb/web.h"

/* A row without its root: "/studies/{study}/metadata". */
struct web_route {
    enum http_method method;
    bool             blocking;
    const char      *pattern; // below the root
    http_handler    *handle, *begin;
    size_t           max_body;
};

/* The tables; web.c puts them together. */
extern const struct web_route find_routes[], retrieve_routes[], metadata_routes[], frame_routes[];
extern const size_t           find_routes_n, retrieve_routes_n, metadata_routes_n, frame_routes_n;

extern const struct web_route reject_routes[], bulk_routes[], uri_routes[];
extern const size_t           reject_routes_n, bulk_routes_n, uri_routes_n;

extern const struct web_route store_routes[];
extern const size_t           store_routes_n;
extern const struct web_route rendered_routes[];
extern const size_t           rendered_routes_n;

/* As access_actor, for the tenant of the path; CORS headers added. */
bool       web_actor(struct web *w, struct http_request *r, enum act act, struct actor *ret);
/* "http://host/t/X/dicomweb" or "/dicomweb" as the caller wrote it: what RetrieveURL and
 * BulkDataURI begin with.  Host and X-Forwarded-Proto are believed only for links back. */
struct str web_root(struct http_request *r);
