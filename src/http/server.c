#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/http_priv.h"
#include "sys/metric.h"
#include "sys/sock.h"
#include "sys/worker.h"

struct loop;

/* One open connection, in its loop's list.  The library's own timeout starts anew with every byte,
 * so a peer that sends one now and then would stay for ever; until is for the whole wait. */
struct conn {
    struct conn *next, **before;
    struct loop *loop;
    int          fd;
    int64_t      until_ns; // INT64_MAX: the library's timeout is enough (a body, an answer)
};

struct loop {
    struct http_server *server;
    struct MHD_Daemon  *daemon;
    int                 wake; // eventfd
    bool                started, quiet;
    pthread_t           thread;
    struct conn        *conns;
    int64_t             next_sweep_ns;
};

struct http_server {
    const struct http_route *routes;
    size_t                   route_count;
    uint16_t                 port;
    uint32_t                 head_ms, idle_ms;
    struct pool             *pool;
    atomic_int               open;     // requests
    atomic_bool              draining; // no new connections, no second request
    atomic_bool              quitting; // loops end
    unsigned                 loops;
    struct loop              loop[];
};

const struct http_route *server_routes(const struct http_server *s, size_t *ret_n)
{
    *ret_n = s->route_count;
    return s->routes;
}

uint16_t http_port(const struct http_server *s)
{
    return s->port;
}

static void wait_at_most(struct conn *c, int64_t ms)
{
    c->until_ns = deadline_in_ms(ms).at_ns;
}

/* -- callbacks of the library, all on the connection's loop -- */

static void on_connection(void *cls, struct MHD_Connection *c, void **socket_context,
                          enum MHD_ConnectionNotificationCode toe)
{
    struct loop *l = cls;
    struct conn *n = *socket_context;
    if (toe == MHD_CONNECTION_NOTIFY_STARTED) {
        n = calloc(1, sizeof(*n));
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = n;
        if (n == NULL || i == NULL) {
            return; // its first request is refused
        }
        n->fd = i->connect_fd;
        n->loop = l;
        wait_at_most(n, l->server->idle_ms);
        n->next = l->conns;
        n->before = &l->conns;
        if (n->next != NULL) {
            n->next->before = &n->next;
        }
        l->conns = n;
        metric_add(METRIC_HTTP_CONNECTIONS, 1);
    } else if (n != NULL) {
        if (n->before != NULL) {
            *n->before = n->next;
            if (n->next != NULL) {
                n->next->before = n->before;
            }
            metric_add(METRIC_HTTP_CONNECTIONS, -1);
        }
        free(n);
        *socket_context = NULL;
    }
}

static void *on_request_line(void *cls, const char *raw, struct MHD_Connection *c)
{
    struct loop                    *l = cls;
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn         *conn = i != NULL ? i->socket_context : NULL;
    struct http_request *r = conn != NULL ? request_new(l->server, c, raw) : NULL;
    if (r != NULL) {
        r->conn = conn;
        wait_at_most(conn, l->server->head_ms);
        (void)atomic_fetch_add(&l->server->open, 1);
    }
    return r;
}

/* Path and query are decoded in uri.c, from the raw line. */
static size_t no_unescape(void *cls, struct MHD_Connection *c, char *s)
{
    (void)cls, (void)c;
    return strlen(s);
}

static void count(const struct http_request *r, bool complete)
{
    static const enum metric classes[] = {METRIC_HTTP_REQUESTS_2XX, METRIC_HTTP_REQUESTS_3XX,
                                          METRIC_HTTP_REQUESTS_4XX, METRIC_HTTP_REQUESTS_5XX};

    int64_t ns = clock_mono_ns() - r->start_ns;
    metric_add(complete && r->status >= 200 && r->status < 600 ? classes[r->status / 100 - 2]
                                                               : METRIC_HTTP_REQUESTS_ABORTED,
               1);
    metric_time(METRIC_HTTP_SECONDS, ns);
    /* The pattern and not the path, which may name a patient. */
    log_debug("http.request", "method=%s route=%s status=%u us=%" PRId64 "%s",
              r->method != NULL ? r->method : "-",
              r->match.route != NULL ? r->match.route->pattern : "-", r->status, ns / 1000,
              complete ? "" : " aborted=1");
}

static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                         enum MHD_RequestTerminationCode toe)
{
    struct loop         *l = cls;
    struct http_request *r = *con_cls;
    (void)c;
    if (r == NULL) {
        return;
    }
    wait_at_most(r->conn, l->server->idle_ms);
    log_set_id(r->id);
    count(r, toe == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    request_free(r);
    log_set_id(0);
    *con_cls = NULL;
    (void)atomic_fetch_sub(&l->server->open, 1);
}

/* -- steps of a request -- */

static enum MHD_Result send_answer(struct http_request *r)
{
    char id[24];
    r->state = REQ_SENT;
    if (r->response == NULL) {
        return MHD_NO; // no memory even for the error
    }
    for (size_t i = 0; i < r->headers; i++) {
        (void)MHD_add_response_header(r->response, r->header[i].name.ptr, r->header[i].value.ptr);
    }
    (void)snprintf(id, sizeof(id), "%" PRIu64, r->id);
    (void)MHD_add_response_header(r->response, "X-Request-Id", id);
    if (atomic_load_explicit(&r->server->draining, memory_order_relaxed)) {
        (void)MHD_add_response_header(r->response, "Connection", "close");
    }
    return MHD_queue_response(r->c, r->status, r->response);
}

static void run_on_worker(void *arg)
{
    struct http_request *r = arg;
    log_set_id(r->id);
    if (atomic_load(&r->server->quitting)) {
        http_error(r, 503, "closed", "node is going down");
    } else {
        request_run(r);
    }
    log_set_id(0);
    r->state = REQ_READY;
    struct loop *l = r->conn->loop;
    MHD_resume_connection(r->c); // from here on it is the loop's
    /* The library's own signal is lost when it comes in the middle of MHD_run. */
    (void)eventfd_write(l->wake, 1);
}

void http_pause(struct http_request *r)
{
    r->paused = true;
    MHD_suspend_connection(r->c);
}

void http_wake(struct http_request *r)
{
    struct loop *l = r->conn->loop;
    MHD_resume_connection(r->c);
    (void)eventfd_write(l->wake, 1);
}

static bool take_pause(struct http_request *r)
{
    bool paused = r->paused;
    r->paused = false;
    return paused;
}

/* Refused: a short body is read and dropped, so that the connection can be used again; a long one
 * need not be sent at all.  The library can answer before the body of these two methods only. */
static enum MHD_Result begun(struct http_request *r)
{
    bool two = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0;
    r->state = REQ_BODY;
    return r->response != NULL && two && request_body_size(r) > LIMIT_HTTP_DROP ? send_answer(r)
                                                                                : MHD_YES;
}

static enum MHD_Result begin(struct http_request *r, const char *method)
{
    r->state = REQ_NEW;
    r->method = method;
    r->conn->until_ns = INT64_MAX;
    request_begin(r);
    if (take_pause(r)) {
        r->state = REQ_BEGUN;
        return MHD_YES;
    }
    return begun(r);
}

/* The body has come. */
static enum MHD_Result run(struct http_request *r)
{
    if (r->match.route->blocking) {
        r->state = REQ_RUNNING;
        MHD_suspend_connection(r->c);
        r->job = (struct pool_job){.fn = run_on_worker, .arg = r};
        pool_submit(r->server->pool, &r->job);
        return MHD_YES;
    }
    request_run(r);
    if (take_pause(r)) {
        r->state = REQ_READY;
        return MHD_YES;
    }
    return send_answer(r);
}

static enum MHD_Result step(struct http_request *r, const char *method, const char *data,
                            size_t *size)
{
    if (r->state == REQ_NEW) {
        return begin(r, method);
    }
    if (r->state == REQ_BEGUN && *size == 0) {
        return begun(r);
    }
    if (r->state == REQ_BODY && *size > 0) {
        bool go_on = request_body(r, (struct bytes){(const uint8_t *)data, *size});
        *size = take_pause(r) ? *size : 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (r->state == REQ_BODY && r->response == NULL) {
        return run(r);
    }
    return r->state == REQ_BODY || r->state == REQ_READY ? send_answer(r) : MHD_YES;
}

/* Eight parameters are the library's idea.  NOLINTNEXTLINE(readability-function-size) */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *c, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **con_cls)
{
    struct http_request *r = *con_cls;
    (void)cls, (void)c, (void)url, (void)version;
    if (r == NULL) {
        return MHD_NO;
    }
    log_set_id(r->id);
    enum MHD_Result rc = step(r, method, data, size);
    log_set_id(0);
    return rc;
}

/* -- loops -- */

/* Ends connections whose peer takes too long over a head, or idles. */
static void sweep(struct loop *l, int64_t now)
{
    if (now < l->next_sweep_ns) {
        return;
    }
    l->next_sweep_ns = now + (int64_t)1000 * 1000000;
    for (struct conn *c = l->conns; c != NULL; c = c->next) {
        if (c->until_ns < now) {
            (void)shutdown(c->fd, SHUT_RDWR); // the library sees the end, and closes
            c->until_ns = INT64_MAX;
        }
    }
}

static void quiesce(struct loop *l)
{
    if (!l->quiet && atomic_load(&l->server->draining)) {
        MHD_socket fd = MHD_quiesce_daemon(l->daemon);
        l->quiet = true;
        if (fd != MHD_INVALID_SOCKET) {
            (void)close(fd);
        }
    }
}

static void run_loop(void *arg)
{
    struct loop  *l = arg;
    int           epoll = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    struct pollfd fds[2] = {{.fd = epoll, .events = POLLIN}, {.fd = l->wake, .events = POLLIN}};
    eventfd_t     n;
    MHD_UNSIGNED_LONG_LONG ms;
    while (!atomic_load(&l->server->quitting)) {
        int timeout = 1000; // for the sweep
        if (MHD_get_timeout(l->daemon, &ms) == MHD_YES && ms < 1000) {
            timeout = (int)ms;
        }
        (void)poll(fds, 2, timeout);
        if (fds[1].revents != 0) {
            (void)eventfd_read(l->wake, &n);
        }
        quiesce(l);
        (void)MHD_run(l->daemon);
        sweep(l, clock_mono_ns());
    }
}

static void wake_all(struct http_server *s)
{
    for (unsigned i = 0; i < s->loops; i++) {
        if (s->loop[i].started) {
            (void)eventfd_write(s->loop[i].wake, 1);
        }
    }
}

static enum err start_loop(struct loop *l, int listener, unsigned connections, struct errmsg *e)
{
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = fcntl(listener, F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || l->wake < 0) {
        return err_set(e, ERR_LIMIT, "no descriptor for a loop");
    }
    /* Not an internal thread: its epoll sleeps with 128 connections ready.  Not told that SIGPIPE
     * is taken care of, the library would not use sendfile. */
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, l,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_HTTP_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(LIMIT_HTTP_IDLE_MS / 1000),
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        l, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, l, MHD_OPTION_UNESCAPE_CALLBACK,
        no_unescape, NULL, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    if (l->daemon == NULL) {
        (void)close(fd);
        return err_set(e, ERR_IO, "the HTTP library does not start");
    }
    enum err rc = worker_run("http", run_loop, l, &l->thread, e);
    l->started = rc == ERR_OK;
    return rc;
}

static void free_server(struct http_server *s)
{
    for (unsigned i = 0; i < s->loops; i++) {
        struct loop *l = &s->loop[i];
        if (l->started) {
            (void)pthread_join(l->thread, NULL);
        }
        if (l->daemon != NULL) {
            MHD_stop_daemon(l->daemon);
        }
        if (l->wake >= 0) {
            (void)close(l->wake);
        }
    }
    free(s);
}

void http_stop(struct http_server *s, struct deadline drain)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    if (s == NULL) {
        return;
    }
    atomic_store(&s->draining, true);
    wake_all(s);
    while (atomic_load(&s->open) > 0 && !is_deadline_past(drain)) {
        (void)nanosleep(&moment, NULL);
    }
    /* Loops first: they are what submits.  Then the workers finish, and what they resume is closed
     * by the library. */
    atomic_store(&s->quitting, true);
    wake_all(s);
    for (unsigned i = 0; i < s->loops; i++) {
        if (s->loop[i].started) {
            (void)pthread_join(s->loop[i].thread, NULL);
            s->loop[i].started = false;
        }
    }
    pool_free(s->pool);
    free_server(s);
}

static unsigned loops_wanted(const struct http_conf *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return c->threads > 0 ? c->threads : cores > 0 ? (unsigned)cores : 1;
}

static enum err start_all(struct http_server *s, const struct http_conf *c, unsigned loops,
                          struct errmsg *e)
{
    int      listener = -1;
    enum err rc =
        pool_new("http-work", c->workers > 0 ? c->workers : LIMIT_HTTP_WORKERS, &s->pool, e);
    rc = rc != ERR_OK ? rc : sock_listen(c->listen, &listener, &s->port, e);
    while (rc == ERR_OK && s->loops < loops) {
        struct loop *l = &s->loop[s->loops++];
        *l = (struct loop){.server = s, .wake = -1};
        rc = start_loop(l, listener, (c->connections + loops - 1) / loops, e);
    }
    if (listener >= 0) {
        (void)close(listener);
    }
    return rc;
}

enum err http_start(const struct http_conf *c, const struct http_route *routes, size_t n,
                    struct http_server **ret, struct errmsg *e)
{
    unsigned            loops = loops_wanted(c);
    struct http_server *s = calloc(1, sizeof(*s) + loops * sizeof(s->loop[0]));
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the HTTP server");
    }
    s->routes = routes;
    s->route_count = n;
    s->head_ms = c->head_ms > 0 ? c->head_ms : LIMIT_HTTP_HEAD_MS;
    s->idle_ms = c->idle_ms > 0 ? c->idle_ms : LIMIT_HTTP_IDLE_MS;
    for (size_t i = 0; i < n; i++) {
        assert(is_route(&routes[i]));
    }
    enum err rc = start_all(s, c, loops, e);
    if (rc != ERR_OK) {
        http_stop(s, deadline_in_ms(0));
        return rc;
    }
    *ret = s;
    return ERR_OK;
}
