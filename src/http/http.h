#pragma once
/*
 * HTTP/1.1 server: routes, requests, answers.  TLS and HTTP/2 are the front server's work.
 *
 * A few event loops (libmicrohttpd, one daemon each) read requests and send answers; nothing in
 * them may block.  A handler runs on its request's loop, or, when its route says `blocking`, on a
 * worker while the connection waits: whatever asks a database, a disk or a peer is blocking.
 * A request belongs to one thread at a time, so its handler needs no locks for it.
 *
 * A handler answers exactly once; one that does not is answered 500.  Errors go out as
 * {"error": CODE, "message": TEXT}; the text of a 5xx stays in the log, under the request's id,
 * which the client gets as X-Request-Id.  (Requests that are not HTTP at all, or whose head does
 * not fit, are answered by the library in its own words.)
 *
 * Ranges: an answer with status 200 and a known length honours Range and If-Range by itself.
 * HEAD is answered by the handler of GET.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/uri.h"

struct http_server;
struct http_request;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_METHOD__COUNT };

/* arg is the route's. */
typedef void http_handler(struct http_request *r, void *arg);

/*
 * One row of the table.  Patterns: "/studies/{study}/metadata"; a last part "{rest*}" takes all
 * that follows, empty as well.  A parameter is never empty (but for rest) and never holds '/'.
 * The first row that fits wins.
 */
struct http_route {
    enum http_method method;
    bool             blocking;
    const char      *pattern;
    http_handler    *handle; // the body, if any, has arrived
    http_handler    *begin;  // NULL, or called before the body: may answer (refuse), or call
                             // http_body_to(); always on the loop
    void            *arg;
    size_t           max_body; // kept in memory for http_body(); 0: no body, unless begin takes it
};

struct http_conf {
    struct str listen;      // ADDR:PORT, port 0 picks one
    uint32_t   threads;     // loops; 0: one for each processor
    uint32_t   connections; // at once
    uint32_t   workers;     // for blocking handlers; 0: LIMIT_HTTP_WORKERS
    uint32_t   head_ms;     // 0: LIMIT_HTTP_HEAD_MS
    uint32_t   idle_ms;     // 0: LIMIT_HTTP_IDLE_MS
};

/* The table and what it points to must outlive the server.  Call once; SIGPIPE must be ignored by
 * the program. */
enum err http_start(const struct http_conf *c, const struct http_route *routes, size_t n,
                    struct http_server **ret, struct errmsg *e);
uint16_t http_port(const struct http_server *s);
/* Accepts nothing more, lets open requests finish until the deadline, then closes the rest. */
void     http_stop(struct http_server *s, struct deadline drain);

/* -- request; all views live as long as it -- */

struct arena     *http_arena(struct http_request *r); // for the handler's own use, LIMIT_HTTP_ARENA
uint64_t          http_id(const struct http_request *r);
bool              http_is_head(const struct http_request *r);
struct str        http_param(const struct http_request *r, const char *name); // of the path
/* First query parameter of that name; ptr NULL: none.  All of them: http_uri. */
struct str        http_query(const struct http_request *r, const char *name);
const struct uri *http_uri(const struct http_request *r);
/* ptr NULL: none, or not UTF-8. */
struct str        http_header(const struct http_request *r, const char *name);
struct str        http_peer(struct http_request *r); // numeric address
struct bytes      http_body(const struct http_request *r);

/*
 * From begin: every piece of the body goes to fn, on the loop (write to a file, do not sync).
 * ERR_MORE: not taken, and http_pause() was called: it is given again after http_wake().  Another
 * error of fn is answered by http_fail() once the rest of the body has been read and dropped.
 * done(arg) is called when the request is over, whatever happened; may be NULL.
 */
typedef enum err http_body_fn(void *arg, struct bytes piece, struct errmsg *e);
void  http_body_to(struct http_request *r, http_body_fn *fn, void *arg, void (*done)(void *arg));
void *http_body_arg(const struct http_request *r); // arg of http_body_to, or NULL
/*
 * On the loop, from begin, the body's fn or a handler that is not blocking: nothing more is read or
 * sent until http_wake(), and meanwhile the request is another thread's, which may answer it (not
 * when it paused in fn).  Call it before that thread hears of it.  http_stop waits for nobody who
 * paused: wake them first.
 */
void  http_pause(struct http_request *r);

/* -- answer -- */

/* Before the answer itself.  Kept in the arena; a value with CR or LF is dropped. */
void       http_add_header(struct http_request *r, const char *name, struct str value);
/* What was added under that name; ptr NULL: nothing. */
struct str http_added(const struct http_request *r, const char *name);
/* Adds ETag; true when the client has that very version: 304 is then the answer, already given. */
bool       http_is_cached(struct http_request *r, struct str etag);

/* type: Content-Type, or NULL.  The bytes are copied. */
void http_answer(struct http_request *r, unsigned status, const char *type, struct bytes body);
/* Takes the memory of b, which is empty afterwards; a failed buffer is answered 500. */
void http_answer_buf(struct http_request *r, unsigned status, const char *type, struct buf *b);

struct http_file {
    int      fd; // taken: closed when it has been sent, or not
    uint64_t at, len;
};

/* By sendfile(2) where the kernel can. */
void http_answer_file(struct http_request *r, unsigned status, const char *type,
                      struct http_file f);

enum { HTTP_LENGTH_UNKNOWN = 0 }; // chunked

struct http_stream {
    uint64_t len; // HTTP_LENGTH_UNKNOWN, or what read will give in all
    /* At most n bytes, on the loop; *ret_n 0 is the end.  ERR_MORE: nothing yet, the connection
     * sleeps until http_wake.  An error breaks the connection, which is the only sign left. */
    enum err (*read)(void *arg, uint8_t *to, size_t n, size_t *ret_n);
    void (*done)(void *arg); // when it has been sent, or not; may be NULL
    /* Before the first read: begin at that byte.  NULL: ranges are not honoured. */
    void (*seek)(void *arg, uint64_t at);
    void *arg;
};

void http_answer_stream(struct http_request *r, unsigned status, const char *type,
                        const struct http_stream *s);
/* After http_pause(): the request is the loop's again.
 * After ERR_MORE of read and before done, from any thread: read is asked again.  http_stop waits
 * for streams that sleep: end them first. */
void http_wake(struct http_request *r);
/* Status by the table of codes in request.c. */
void http_fail(struct http_request *r, enum err rc, const struct errmsg *e);
void http_error(struct http_request *r, unsigned status, const char *code, const char *fmt, ...)
    PRINTF(4, 5);
