#include <assert.h>
#include <stdio.h>

#include "dicomweb/web_priv.h"

static const char *const roots[] = {"/dicomweb", "/t/{tenant}/dicomweb"};

/* ---- other sites' pages: CORS */

static bool is_listed(struct str list, struct str origin)
{
    struct str one;
    while (str_next(&list, ',', &one)) {
        while (one.len > 0 && *one.ptr == ' ') {
            one = (struct str){one.ptr + 1, one.len - 1};
        }
        if (str_eq(one, origin) || str_eq(one, STR("*"))) {
            return true;
        }
    }
    return false;
}

static bool cors(const struct web *w, struct http_request *r)
{
    struct str origin = http_header(r, "Origin");
    if (origin.len == 0 || !is_listed(w->cors, origin)) {
        return false;
    }
    if (http_added(r, "Access-Control-Allow-Origin").ptr != NULL) { // on the loop, before
        return true;
    }
    http_add_header(r, "Access-Control-Allow-Origin", origin);
    http_add_header(r, "Vary", STR("Origin"));
    http_add_header(r, "Access-Control-Expose-Headers",
                    STR("Warning, ETag, Content-Location, Content-Range"));
    return true;
}

static void preflight(struct http_request *r, void *arg)
{
    if (cors(arg, r)) {
        http_add_header(r, "Access-Control-Allow-Methods", STR("GET, POST, DELETE"));
        http_add_header(r, "Access-Control-Allow-Headers",
                        STR("Accept, Authorization, Content-Type, If-None-Match, Range"));
        http_add_header(r, "Access-Control-Max-Age", STR("600"));
    }
    http_answer(r, 204, NULL, (struct bytes){0});
}

static const struct web_route preflight_routes[] = {
    {.method = HTTP_OPTIONS, .pattern = "/{rest*}", .handle = preflight},
};

/* ---- the tables together: one line for each file */

static const struct {
    const struct web_route *routes;
    const size_t           *n;
} tables[] = {
    {preflight_routes, &(const size_t){1}},
    {find_routes, &find_routes_n},
    {retrieve_routes, &retrieve_routes_n},
    {metadata_routes, &metadata_routes_n},
    {frame_routes, &frame_routes_n},
    {bulk_routes, &bulk_routes_n},
    {uri_routes, &uri_routes_n},
    {reject_routes, &reject_routes_n},
    {store_routes, &store_routes_n},
    {rendered_routes, &rendered_routes_n},
};

/* One row under both roots. */
static size_t put_routes(struct web *w, const struct web_route *row, struct http_route *to,
                         size_t n)
{
    for (size_t root = 0; root < sizeof(roots) / sizeof(roots[0]); root++, n++) {
        assert(n < WEB_ROUTES);
        (void)snprintf(w->patterns[n], WEB_PATTERN, "%s%s", roots[root], row->pattern);
        to[n] = (struct http_route){
            .method = row->method,
            .blocking = row->blocking,
            .pattern = w->patterns[n],
            .handle = row->handle,
            .begin = row->begin,
            .arg = w,
            .max_body = row->max_body,
        };
    }
    return n;
}

size_t web_routes(struct web *w, struct http_route to[WEB_ROUTES])
{
    size_t n = 0;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (size_t i = 0; i < *tables[t].n; i++) {
            n = put_routes(w, &tables[t].routes[i], to, n);
        }
    }
    return n;
}

/* ---- what handlers share */

bool web_actor(struct web *w, struct http_request *r, enum act act, struct actor *ret)
{
    (void)cors(w, r);
    return access_actor(w->access, r, act, http_param(r, "tenant"), ret);
}

struct str web_root(struct http_request *r)
{
    struct str                   tenant = http_param(r, "tenant");
    struct str                   host = http_header(r, "Host");
    struct str                   proto = http_header(r, "X-Forwarded-Proto");
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_HTTP_MEMORY);
    if (host.len > 0) {
        buf_fmt(&b, "%s://%.*s", str_eq(proto, STR("https")) ? "https" : "http", STR_ARG(host));
    }
    if (tenant.len > 0) {
        buf_fmt(&b, "/t/%.*s", STR_ARG(tenant));
    }
    buf_str(&b, STR("/dicomweb"));
    return arena_str(http_arena(r), (struct str){(const char *)b.ptr, b.len});
}
