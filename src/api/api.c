#include "api/api.h"

#include <stdlib.h>
#include <zlib.h>

#include "api/api_priv.h"
#include "base/log.h"

enum { WORTH_COMPRESSING = 1024 };

/* ERR_UNSUPPORTED: send it as it is. */
static enum err compress_to(struct bytes from, struct buf *to)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)from.ptr, .avail_in = (uInt)from.len};
    /* 16: with a gzip head.  Level 3: 300 KB of numbers in 5 ms. */
    if (from.len > UINT32_MAX / 2 ||
        deflateInit2(&z, 3, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return ERR_UNSUPPORTED;
    }
    size_t bound = deflateBound(&z, z.avail_in);
    z.next_out = buf_grow(to, bound);
    z.avail_out = (uInt)bound;
    int rc = z.next_out != NULL ? deflate(&z, Z_FINISH) : Z_MEM_ERROR;
    to->len = z.total_out;
    (void)deflateEnd(&z);
    return rc == Z_STREAM_END ? ERR_OK : ERR_UNSUPPORTED;
}

void answer_json(struct http_request *r, struct buf *json)
{
    struct buf packed;
    struct str accept = http_header(r, "Accept-Encoding");
    http_add_header(r, "Vary", STR("Accept-Encoding"));
    http_add_header(r, "X-Content-Type-Options", STR("nosniff"));
    bool wanted = json->err == ERR_OK && json->len > WORTH_COMPRESSING && accept.ptr != NULL &&
                  memmem(accept.ptr, accept.len, "gzip", 4) != NULL;
    if (!wanted) {
        http_answer_buf(r, 200, "application/json", json);
        return;
    }
    buf_init(&packed, json->max + 4096);
    if (compress_to((struct bytes){json->ptr, json->len}, &packed) == ERR_OK) {
        http_add_header(r, "Content-Encoding", STR("gzip"));
        http_answer_buf(r, 200, "application/json", &packed);
        buf_done(json);
    } else {
        buf_done(&packed);
        http_answer_buf(r, 200, "application/json", json);
    }
}

enum err api_start(const struct api_conf *c, struct api **ret, struct errmsg *e)
{
    struct errmsg why = {0};
    struct api   *a = calloc(1, sizeof(*a)); // allow-banned: freed in api_free
    if (a == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the portal");
    }
    a->conf = *c;
    enum err rc = image_cache_new(&a->cache, e);
    rc = rc == ERR_OK ? hub_new(archive_db(c->archive), &a->hub, e) : rc;
    if (rc != ERR_OK) {
        api_free(a);
        return rc;
    }
    if (c->web != NULL && site_open(c->web, &a->site, &why) != ERR_OK) {
        log_warn("portal.absent", "why=%s", log_q(str_of(why.text)).z); // an archive without a face
    }
    *ret = a;
    return ERR_OK;
}

size_t api_routes(struct api *a, struct http_route to[API_ROUTES])
{
    const struct http_route rows[] = {
        {.method = HTTP_POST,
         .blocking = true,
         .pattern = "/api/v1/session",
         .handle = session_begin,
         .max_body = LIMIT_SESSION_BODY},
        {.method = HTTP_GET,
         .blocking = true,
         .pattern = "/api/v1/session",
         .handle = session_tell},
        {.method = HTTP_DELETE,
         .blocking = true,
         .pattern = "/api/v1/session",
         .handle = session_end},
        {.method = HTTP_GET,
         .blocking = true,
         .pattern = "/api/v1/events",
         .handle = events_handle},
        {.method = HTTP_GET,
         .blocking = true,
         .pattern = "/api/v1/studies",
         .handle = studies_handle},
        {.method = HTTP_GET,
         .blocking = true,
         .pattern = "/api/v1/studies/{study}/instances",
         .handle = instances_handle},
        {.method = HTTP_GET, .pattern = "/", .handle = site_handle},
        {.method = HTTP_GET, .pattern = "/{rest*}", .handle = site_handle},
    };
    size_t n = sizeof(rows) / sizeof(rows[0]);
    for (size_t i = 0; i < n; i++) {
        to[i] = rows[i];
        to[i].arg = a;
    }
    return n;
}

void api_quit(struct api *a)
{
    hub_quit(a->hub);
}

void api_free(struct api *a)
{
    if (a != NULL) {
        hub_free(a->hub);
        site_free(a->site);
        image_cache_free(a->cache);
        free(a);
    }
}
