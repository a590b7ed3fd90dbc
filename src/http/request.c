#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/num.h"
#include "base/utf8.h"
#include "http/http_priv.h"
#include "http/range.h"
#include "sys/sock.h"

static const unsigned statuses[] = {
    [ERR_OK] = 500, // not an error: ours
    [ERR_MORE] = 400,     [ERR_SYNTAX] = 400, [ERR_LIMIT] = 413,    [ERR_UNSUPPORTED] = 501,
    [ERR_NOTFOUND] = 404, [ERR_EXISTS] = 409, [ERR_CONFLICT] = 409, [ERR_DENIED] = 403,
    [ERR_TIMEOUT] = 504,  [ERR_CLOSED] = 502, [ERR_IO] = 500,       [ERR_NOMEM] = 503,
};
_Static_assert(sizeof(statuses) / sizeof(statuses[0]) == ERR__COUNT, "a status for every error");

/* -- life -- */

struct http_request *request_new(struct http_server *s, struct MHD_Connection *c, const char *raw)
{
    static atomic_uint_fast64_t last_id;
    struct http_request        *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->server = s;
    r->c = c;
    r->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    r->start_ns = clock_mono_ns();
    arena_init(&r->arena, LIMIT_HTTP_ARENA);
    r->bad =
        uri_parse((struct bytes){(const uint8_t *)raw, strlen(raw)}, &r->arena, &r->uri, &r->why);
    return r;
}

void request_free(struct http_request *r)
{
    if (r->sink_done != NULL) {
        r->sink_done(r->sink_arg);
    }
    if (r->response != NULL) {
        MHD_destroy_response(r->response);
    }
    buf_done(&r->body);
    arena_done(&r->arena);
    free(r);
}

/* -- what the handler asks -- */

struct arena *http_arena(struct http_request *r)
{
    return &r->arena;
}

uint64_t http_id(const struct http_request *r)
{
    return r->id;
}

bool http_is_head(const struct http_request *r)
{
    return strcmp(r->method, "HEAD") == 0;
}

static struct str find_pair(const struct http_pair *p, size_t n, const char *name)
{
    struct str want = str_of(name);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(p[i].name, want)) {
            return p[i].value;
        }
    }
    return (struct str){0};
}

struct str http_param(const struct http_request *r, const char *name)
{
    return find_pair(r->match.param, r->match.params, name);
}

struct str http_query(const struct http_request *r, const char *name)
{
    return find_pair(r->uri.query, r->uri.queries, name);
}

const struct uri *http_uri(const struct http_request *r)
{
    return &r->uri;
}

struct str http_header(const struct http_request *r, const char *name)
{
    const char *z = MHD_lookup_connection_value(r->c, MHD_HEADER_KIND, name);
    struct str  s = {0};
    bool        good = z != NULL && utf8_check((struct bytes){(const uint8_t *)z, strlen(z)}, &s);
    return good ? s : (struct str){0};
}

struct str http_peer(struct http_request *r)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(r->c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (r->peer[0] == '\0' && i != NULL && i->client_addr != NULL) {
        sock_address_text(i->client_addr, r->peer);
    }
    return str_of(r->peer);
}

struct bytes http_body(const struct http_request *r)
{
    return (struct bytes){r->body.ptr, r->body.len};
}

void http_body_to(struct http_request *r, http_body_fn *fn, void *arg, void (*done)(void *arg))
{
    assert(r->state == REQ_NEW && r->sink == NULL);
    r->sink = fn;
    r->sink_arg = arg;
    r->sink_done = done;
}

void *http_body_arg(const struct http_request *r)
{
    return r->sink_arg;
}

/* -- answers -- */

void http_add_header(struct http_request *r, const char *name, struct str value)
{
    struct http_pair p = {str_of(name), arena_str(&r->arena, value)};
    bool             breaks = value.len > 0 && (memchr(value.ptr, '\r', value.len) != NULL ||
                                    memchr(value.ptr, '\n', value.len) != NULL);
    assert(r->headers < HTTP_HEADERS);
    if (p.value.ptr != NULL && !breaks) {
        r->header[r->headers++] = p;
    }
}

struct str http_added(const struct http_request *r, const char *name)
{
    return find_pair(r->header, r->headers, name);
}

static void give(struct http_request *r, unsigned status, const char *type,
                 struct MHD_Response *response)
{
    assert(r->response == NULL); // answered twice
    r->response = response;
    r->status = status;
    if (response != NULL && type != NULL) {
        (void)MHD_add_response_header(response, "Content-Type", type);
    }
}

void http_error(struct http_request *r, unsigned status, const char *code, const char *fmt, ...)
{
    char    text[sizeof(((struct errmsg *)0)->text)], outside[64];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (status >= 500) {
        log_warn("http.fail", "status=%u error=%s why=%s", status, code, log_q(str_of(text)).z);
        (void)snprintf(outside, sizeof(outside), "failed here; the log has the reason");
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_key(&w, STR("error"));
    jsonw_str(&w, str_of(code));
    jsonw_key(&w, STR("message"));
    jsonw_str(&w, str_of(status >= 500 ? outside : text));
    jsonw_obj_end(&w);
    buf_str(&b, STR("\n"));
    give(r, status, "application/json",
         MHD_create_response_from_buffer(b.len, b.ptr, MHD_RESPMEM_MUST_COPY));
}

void http_fail(struct http_request *r, enum err rc, const struct errmsg *e)
{
    http_error(r, statuses[rc], err_name(rc), "%s", e != NULL && e->code != ERR_OK ? e->text : "");
}

/* A list of quoted tags, or "*"; weak comparison (RFC 9110 13.1.2). */
static bool has_tag(struct str list, struct str etag)
{
    if (list.ptr == NULL || etag.len == 0) {
        return false;
    }
    return str_eq(list, STR("*")) || memmem(list.ptr, list.len, etag.ptr, etag.len) != NULL;
}

bool http_is_cached(struct http_request *r, struct str etag)
{
    http_add_header(r, "ETag", etag);
    if (!has_tag(http_header(r, "If-None-Match"), etag)) {
        return false;
    }
    give(r, 304, NULL, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    return true;
}

/*
 * What of size bytes the client wants.  False: nothing that is there, and 416 has been given.
 * If-Range takes an entity tag only; we send no dates.
 */
static bool choose_part(struct http_request *r, uint64_t size, unsigned *status, struct range *ret)
{
    char       text[80];
    struct str wanted = *status == 200 ? http_header(r, "Range") : (struct str){0};
    struct str if_range = wanted.ptr != NULL ? http_header(r, "If-Range") : (struct str){0};
    *ret = (struct range){0, size};
    if (wanted.ptr == NULL ||
        (if_range.ptr != NULL && !str_eq(if_range, find_pair(r->header, r->headers, "ETag")))) {
        return true;
    }
    enum err rc = range_parse(wanted, size, ret);
    if (rc == ERR_LIMIT) {
        (void)snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
        http_add_header(r, "Content-Range", str_of(text));
        http_error(r, 416, "range", "the range is beyond the %" PRIu64 " bytes there are", size);
        return false;
    }
    if (rc == ERR_OK) {
        (void)snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, ret->first,
                       ret->first + ret->len - 1, size);
        http_add_header(r, "Content-Range", str_of(text));
        *status = 206;
    }
    return true;
}

void http_answer(struct http_request *r, unsigned status, const char *type, struct bytes body)
{
    struct range part;
    if (!choose_part(r, body.len, &status, &part)) {
        return;
    }
    /* The library only reads it, and copies it first. */
    void *from = (void *)(uintptr_t)(body.len > 0 ? body.ptr + part.first
                                                  : body.ptr); // NOLINT(performance-no-int-to-ptr)
    give(r, status, type,
         MHD_create_response_from_buffer((size_t)part.len, from, MHD_RESPMEM_MUST_COPY));
}

void http_answer_buf(struct http_request *r, unsigned status, const char *type, struct buf *b)
{
    struct range part = {0, b->len};
    if (b->err != ERR_OK) {
        http_error(r, 500, err_name(b->err), "answer of %zu bytes and more", b->len);
    } else if (choose_part(r, b->len, &status, &part)) {
        if (part.len < b->len) {
            memmove(b->ptr, b->ptr + part.first, (size_t)part.len);
        }
        struct MHD_Response *m =
            MHD_create_response_from_buffer((size_t)part.len, b->ptr, MHD_RESPMEM_MUST_FREE);
        if (m != NULL) {
            *b = (struct buf){.max = b->max}; // taken
        }
        give(r, status, type, m);
    }
    buf_done(b);
}

void http_answer_file(struct http_request *r, unsigned status, const char *type, struct http_file f)
{
    struct range         part;
    struct MHD_Response *m = NULL;
    if (!choose_part(r, f.len, &status, &part)) {
        (void)close(f.fd);
        return;
    }
    http_add_header(r, "Accept-Ranges", STR("bytes"));
    m = MHD_create_response_from_fd_at_offset64(part.len, f.fd, f.at + part.first);
    if (m == NULL) {
        (void)close(f.fd);
    }
    give(r, status, type, m);
}

struct stream {
    struct http_stream   s;
    struct http_request *r;
};

static ssize_t stream_read(void *arg, uint64_t at, char *to, size_t n)
{
    const struct stream *own = arg;
    size_t               got = 0;
    (void)at;
    enum err rc = own->s.read(own->s.arg, (uint8_t *)to, n, &got);
    if (rc == ERR_MORE) {
        /* Woken already?  Then the library takes the two together for nothing. */
        MHD_suspend_connection(own->r->c);
        return 0;
    }
    if (rc != ERR_OK) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return got == 0 ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)got;
}

static void stream_done(void *arg)
{
    struct stream *own = arg;
    if (own->s.done != NULL) {
        own->s.done(own->s.arg);
    }
    free(own);
}

void http_answer_stream(struct http_request *r, unsigned status, const char *type,
                        const struct http_stream *s)
{
    struct range         part = {0, s->len};
    struct MHD_Response *m = NULL;
    if (s->seek != NULL) {
        if (!choose_part(r, s->len, &status, &part)) {
            if (s->done != NULL) {
                s->done(s->arg);
            }
            return;
        }
        s->seek(s->arg, part.first);
        http_add_header(r, "Accept-Ranges", STR("bytes"));
    }
    struct stream *own = calloc(1, sizeof(*own));
    if (own != NULL) {
        *own = (struct stream){*s, r};
        m = MHD_create_response_from_callback(s->len != HTTP_LENGTH_UNKNOWN ? part.len
                                                                            : MHD_SIZE_UNKNOWN,
                                              LIMIT_HTTP_BLOCK, stream_read, own, stream_done);
    }
    if (m == NULL) {
        free(own);
        if (s->done != NULL) {
            s->done(s->arg);
        }
    }
    give(r, status, type, m);
}

/* -- steps, called by server.c -- */

static enum MHD_Result count_length(void *cls, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    unsigned *n = cls;
    (void)kind, (void)value;
    *n += strcasecmp(key, "Content-Length") == 0 || strcasecmp(key, "Transfer-Encoding") == 0;
    return MHD_YES;
}

/* More than one word on where the body ends: another server on the way may have taken another
 * one, and would see a second request where we see a body (RFC 9112 6.3). */
static bool is_ambiguous(const struct http_request *r)
{
    unsigned n = 0;
    (void)MHD_get_connection_values(r->c, MHD_HEADER_KIND, count_length, &n);
    return n > 1;
}

uint64_t request_body_size(const struct http_request *r)
{
    uint64_t   n = 0;
    struct str length = http_header(r, "Content-Length");
    if (http_header(r, "Transfer-Encoding").ptr != NULL) {
        return UINT64_MAX;
    }
    return length.ptr != NULL && parse_u64(length, &n) ? n : 0;
}

static void refuse_method(struct http_request *r)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 256);
    for (int i = 0; i < HTTP_METHOD__COUNT; i++) {
        if ((r->match.allowed >> i & 1U) != 0) {
            buf_fmt(&b, "%s%s%s", b.len > 0 ? ", " : "", method_name(i),
                    i == HTTP_GET ? ", HEAD" : "");
        }
    }
    http_add_header(r, "Allow", (struct str){(const char *)b.ptr, b.len});
    http_error(r, 405, "method", "this method is not for this path");
}

void request_begin(struct http_request *r)
{
    size_t                   n = 0;
    const struct http_route *rows = server_routes(r->server, &n);
    enum err                 rc = r->bad;
    if (rc != ERR_OK) {
        http_error(r, rc == ERR_LIMIT ? 414 : 400, err_name(rc), "%s", r->why.text);
        return;
    }
    if (is_ambiguous(r)) {
        http_add_header(r, "Connection", STR("close"));
        http_error(r, 400, "syntax", "more than one length of the body");
        return;
    }
    rc = route_find(rows, n, method_of(r->method), &r->uri, &r->arena, &r->match);
    if (rc == ERR_UNSUPPORTED) {
        refuse_method(r);
        return;
    }
    if (rc != ERR_OK) {
        http_error(r, 404, err_name(rc), "no such path");
        return;
    }
    const struct http_route *route = r->match.route;
    if (route->begin != NULL) {
        route->begin(r, route->arg);
    }
    if (r->paused) {
        return; // another thread has it
    }
    buf_init(&r->body, route->max_body);
    uint64_t size = request_body_size(r);
    if (r->response == NULL && r->sink == NULL && route->max_body > 0 && size != UINT64_MAX &&
        size > route->max_body) {
        http_error(r, 413, "limit", "a body of more than %zu bytes", route->max_body);
    }
}

bool request_body(struct http_request *r, struct bytes piece)
{
    if (r->response == NULL && r->sink != NULL) {
        struct errmsg e = {0};
        enum err      rc = r->sink(r->sink_arg, piece, &e);
        if (rc != ERR_OK && rc != ERR_MORE) {
            http_fail(r, rc, &e);
        }
        return true;
    }
    if (r->response == NULL && r->body.max > 0) {
        buf_add(&r->body, piece);
        if (r->body.err == ERR_OK) {
            return true;
        }
        http_error(r, 413, "limit", "a body of more than %zu bytes", r->body.max);
    }
    r->dropped += piece.len;
    return r->sink != NULL || r->dropped <= LIMIT_HTTP_DROP;
}

void request_run(struct http_request *r)
{
    r->match.route->handle(r, r->match.route->arg);
    if (!r->paused && r->response == NULL) {
        http_error(r, 500, "nomem", "no answer");
    }
}
