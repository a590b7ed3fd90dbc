#pragma once
/*
 * The request as server.c drives it and request.c shows it to handlers.
 */
#include <microhttpd.h>

#include "http/http.h"
#include "http/route.h"
#include "sys/pool.h"

enum { HTTP_HEADERS = 16 }; // added by one handler

enum request_state {
    REQ_NEW,     // the request line is known, the rest of the head is not
    REQ_BEGUN,   // begin paused: the library asks once more before the body
    REQ_BODY,    // begun; the body arrives, or has been refused
    REQ_RUNNING, // a worker has it, the connection is suspended
    REQ_READY,   // answered, not yet handed over
    REQ_SENT,    // the library has the answer
};

struct http_request {
    struct http_server    *server;
    struct MHD_Connection *c;
    struct conn           *conn;
    struct arena           arena;
    uint64_t               id;
    int64_t                start_ns;
    enum request_state     state;
    bool                   paused; // by what was called last; the loop's, see http_pause
    const char            *method; // the library's
    enum err               bad;    // what uri_parse said
    struct errmsg          why;
    struct uri             uri;
    struct route_match     match;
    struct buf             body; // for routes with max_body
    uint64_t               dropped;
    http_body_fn          *sink;
    void                  *sink_arg;
    void (*sink_done)(void *arg);
    struct MHD_Response *response; // ours until it is queued
    unsigned             status;
    size_t               headers;
    struct http_pair     header[HTTP_HEADERS];
    char                 peer[64];
    struct pool_job      job;
};

const struct http_route *server_routes(const struct http_server *s, size_t *ret_n);

struct http_request *request_new(struct http_server *s, struct MHD_Connection *c, const char *raw);
void                 request_free(struct http_request *r);
/* After the head: finds the route, asks begin, and perhaps answers already. */
void                 request_begin(struct http_request *r);
/* False: close the connection, nobody needs this body. */
bool                 request_body(struct http_request *r, struct bytes piece);
/* The handler, or 500 when it does not answer. */
void                 request_run(struct http_request *r);
/* Bytes that the head announces; UINT64_MAX: chunked. */
uint64_t             request_body_size(const struct http_request *r);
