#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/num.h"
#include "http/http.h"
#include "sys/file.h"
#include "sys/metric.h"
#include "sys/sock.h"

enum { LONG_MS = 20000, FILE_SIZE = 3 << 20, UPLOAD = 40 << 20 };

/* -- what the server under test does -- */

static char        file_path[64];
static atomic_int  streams_done, uploads_done;
static atomic_bool gate; // the blocking handler waits for it

static void hello(struct http_request *r, void *arg)
{
    http_add_header(r, "X-Arg", str_of(arg));
    http_answer(r, 200, "text/plain", str_bytes(STR("hello\n")));
}

static void show(struct http_request *r, void *arg)
{
    struct buf b;
    (void)arg;
    buf_init(&b, 4096);
    buf_fmt(&b, "study=%.*s series=%.*s q=%.*s none=%d peer=%.*s agent=%.*s",
            STR_ARG(http_param(r, "study")), STR_ARG(http_param(r, "series")),
            STR_ARG(http_query(r, "q")), http_query(r, "x").ptr == NULL, STR_ARG(http_peer(r)),
            STR_ARG(http_header(r, "user-agent")));
    http_answer_buf(r, 200, "text/plain", &b);
}

static void file(struct http_request *r, void *arg)
{
    struct http_file f = {.fd = -1, .len = FILE_SIZE};
    (void)arg;
    if (http_is_cached(r, STR("\"v1\""))) {
        return;
    }
    if (file_open(file_path, O_RDONLY, 0, &f.fd, NULL) == ERR_OK) {
        http_answer_file(r, 200, "application/octet-stream", f);
    }
}

struct counter {
    uint64_t at, end, fail_at;
};

static enum err count_read(void *arg, uint8_t *to, size_t n, size_t *ret_n)
{
    struct counter *c = arg;
    if (c->at >= c->fail_at) {
        return ERR_IO;
    }
    size_t left = (size_t)(c->end - c->at);
    n = n < left ? n : left;
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)((c->at + i) % 251);
    }
    c->at += n;
    *ret_n = n;
    return ERR_OK;
}

static void count_done(void *arg)
{
    atomic_fetch_add(&streams_done, 1);
    free(arg);
}

/* Asleep until another thread has woken it. */
struct sleep {
    struct http_request *r;
    atomic_bool          awake;
    bool                 said;
    pthread_t            waker;
};

static atomic_int sleeper_naps;

static void *wake_it(void *arg)
{
    struct sleep *s = arg;
    if (sleeper_naps != 0) {
        (void)usleep(20000);
    }
    atomic_store(&s->awake, true);
    http_wake(s->r);
    return NULL;
}

static enum err sleep_read(void *arg, uint8_t *to, size_t n, size_t *ret_n)
{
    struct sleep *s = arg;
    if (s->r != NULL && s->waker == 0) {
        assert_int_equal(pthread_create(&s->waker, NULL, wake_it, s), 0);
    }
    if (!atomic_load(&s->awake)) {
        return ERR_MORE;
    }
    *ret_n = s->said ? 0 : 12;
    assert_true(n >= 12);
    memcpy(to, "good morning", *ret_n);
    s->said = true;
    return ERR_OK;
}

static void sleep_done(void *arg)
{
    struct sleep *s = arg;
    (void)pthread_join(s->waker, NULL);
    free(s);
}

static void sleeper(struct http_request *r, void *arg)
{
    struct sleep *s = calloc(1, sizeof(*s));
    (void)arg;
    assert_non_null(s);
    s->r = r;
    http_answer_stream(r, 200, "text/plain",
                       &(struct http_stream){.read = sleep_read, .done = sleep_done, .arg = s});
}

static void stream(struct http_request *r, void *arg)
{
    struct counter *c = calloc(1, sizeof(*c));
    uint64_t        n = 0;
    (void)arg;
    assert_non_null(c);
    assert_true(parse_u64(http_query(r, "n"), &n));
    *c = (struct counter){.end = n, .fail_at = UINT64_MAX};
    if (http_query(r, "fail").ptr != NULL) {
        c->fail_at = n / 2;
        c->end = n / 2;
    }
    http_answer_stream(r, 200, "application/octet-stream",
                       &(struct http_stream){
                           .len = http_query(r, "known").ptr != NULL ? n : HTTP_LENGTH_UNKNOWN,
                           .read = count_read,
                           .done = count_done,
                           .arg = c,
                       });
}

static void echo(struct http_request *r, void *arg)
{
    (void)arg;
    http_answer(r, 200, NULL, http_body(r));
}

struct upload {
    uint64_t total;
    bool     wrong, full;
};

static enum err upload_piece(void *arg, struct bytes piece, struct errmsg *e)
{
    struct upload *u = arg;
    for (size_t i = 0; i < piece.len; i++) {
        u->wrong |= piece.ptr[i] != (uint8_t)((u->total + i) % 251);
    }
    u->total += piece.len;
    return u->full && u->total > 1000 ? err_set(e, ERR_EXISTS, "no more of it") : ERR_OK;
}

static void upload_done(void *arg)
{
    atomic_fetch_add(&uploads_done, 1);
    free(arg);
}

static void upload_begin(struct http_request *r, void *arg)
{
    (void)arg;
    if (!str_eq(http_header(r, "Authorization"), STR("Bearer good"))) {
        http_error(r, 401, "denied", "no token");
        return;
    }
    struct upload *u = calloc(1, sizeof(*u));
    assert_non_null(u);
    u->full = http_query(r, "full").ptr != NULL;
    http_body_to(r, upload_piece, u, upload_done);
}

static void upload(struct http_request *r, void *arg)
{
    const struct upload *u = http_body_arg(r);
    struct buf           b;
    (void)arg;
    buf_init(&b, 100);
    buf_fmt(&b, "%llu %s", (unsigned long long)u->total, u->wrong ? "wrong" : "right");
    http_answer_buf(r, 200, "text/plain", &b);
}

/* The same, with a pause at every turn: another thread has the request for a moment. */
struct moment {
    struct http_request *r;
    struct buf          *answer; // NULL: only wakes
};

static void *have_a_moment(void *arg)
{
    struct moment *m = arg;
    (void)usleep(2000);
    if (m->answer != NULL) {
        http_answer_buf(m->r, 200, "text/plain", m->answer);
        free(m->answer);
    } else if (str_eq(http_header(m->r, "Authorization"), STR("Bearer late"))) {
        http_error(m->r, 401, "denied", "no token");
    }
    http_wake(m->r);
    free(m);
    return NULL;
}

static void pause_for(struct http_request *r, struct buf *answer)
{
    struct moment *m = calloc(1, sizeof(*m));
    pthread_t      t;
    assert_non_null(m);
    *m = (struct moment){r, answer};
    http_pause(r);
    assert_int_equal(pthread_create(&t, NULL, have_a_moment, m), 0);
    (void)pthread_detach(t);
}

struct paced {
    struct upload        u;
    struct http_request *r;
    uint64_t             next;
};

static enum err paced_piece(void *arg, struct bytes piece, struct errmsg *e)
{
    struct paced *p = arg;
    if (p->u.total >= p->next) {
        p->next = p->u.total + (1 << 20);
        pause_for(p->r, NULL);
        return ERR_MORE;
    }
    return upload_piece(&p->u, piece, e);
}

static void paced_begin(struct http_request *r, void *arg)
{
    struct paced *p = calloc(1, sizeof(*p));
    (void)arg;
    assert_non_null(p);
    p->r = r;
    http_body_to(r, paced_piece, p, upload_done);
    pause_for(r, NULL);
}

static void paced(struct http_request *r, void *arg)
{
    const struct upload *u = http_body_arg(r);
    struct buf          *b = calloc(1, sizeof(*b));
    (void)arg;
    assert_non_null(b);
    buf_init(b, 100);
    buf_fmt(b, "%llu %s", (unsigned long long)u->total, u->wrong ? "wrong" : "right");
    pause_for(r, b);
}

static void blocking(struct http_request *r, void *arg)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    (void)arg;
    while (http_query(r, "gate").ptr != NULL && !atomic_load(&gate)) {
        (void)nanosleep(&ms, NULL);
    }
    http_answer(r, 200, NULL, str_bytes(STR("worked")));
}

static void forget(struct http_request *r, void *arg)
{
    (void)r, (void)arg;
}

static void broken(struct http_request *r, void *arg)
{
    struct errmsg e = {0};
    (void)arg;
    http_fail(r, err_set(&e, ERR_IO, "open /secret/path: no"), &e);
}

static void metrics(struct http_request *r, void *arg)
{
    struct buf b;
    (void)arg;
    buf_init(&b, LIMIT_HTTP_ARENA);
    metric_write(&b);
    http_answer_buf(r, 200, "text/plain; version=0.0.4", &b);
}

static const struct http_route routes[] = {
    {.method = HTTP_GET, .pattern = "/hello", .handle = hello, .arg = "here"},
    {.method = HTTP_GET, .pattern = "/s/{study}/{series}", .handle = show},
    {.method = HTTP_GET, .pattern = "/file", .handle = file},
    {.method = HTTP_GET, .pattern = "/stream", .handle = stream},
    {.method = HTTP_GET, .pattern = "/sleeper", .handle = sleeper},
    {.method = HTTP_POST, .pattern = "/echo", .handle = echo, .max_body = 200000},
    {.method = HTTP_POST,
     .pattern = "/upload",
     .handle = upload,
     .begin = upload_begin,
     .blocking = true},
    {.method = HTTP_POST, .pattern = "/paced", .handle = paced, .begin = paced_begin},
    {.method = HTTP_GET, .pattern = "/blocking", .handle = blocking, .blocking = true},
    {.method = HTTP_GET, .pattern = "/forget", .handle = forget},
    {.method = HTTP_GET, .pattern = "/broken", .handle = broken},
    {.method = HTTP_GET, .pattern = "/metrics", .handle = metrics},
};

static struct http_server *server;

static struct http_server *start(uint32_t head_ms, uint32_t idle_ms)
{
    struct http_server    *s = NULL;
    struct errmsg          e = {0};
    const struct http_conf c = {.listen = STR("127.0.0.1:0"),
                                .threads = 2,
                                .connections = 1000,
                                .head_ms = head_ms,
                                .idle_ms = idle_ms};
    if (http_start(&c, routes, sizeof(routes) / sizeof(routes[0]), &s, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return s;
}

/* -- a client that shows every byte -- */

static struct sock *dial_to(const struct http_server *s)
{
    struct sock  *c = NULL;
    struct errmsg e = {0};
    if (sock_connect(STR("127.0.0.1"), http_port(s), deadline_in_ms(LONG_MS), &c, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return c;
}

static struct sock *dial(void)
{
    return dial_to(server);
}

static enum err put(struct sock *c, const void *p, size_t n)
{
    struct iovec v = {(void *)(uintptr_t)p, n}; // NOLINT(performance-no-int-to-ptr)
    return sock_write(c, &v, 1, deadline_in_ms(LONG_MS), NULL);
}

static void say(struct sock *c, const char *text)
{
    assert_int_equal(put(c, text, strlen(text)), ERR_OK);
}

struct answer {
    struct buf b; // head and body
    int        status;
    size_t     body; // where it begins
};

static void answer_done(struct answer *a)
{
    buf_done(&a->b);
}

static bool more(struct sock *c, struct answer *a)
{
    size_t   n = 0;
    uint8_t *p = buf_grow(&a->b, 65536);
    assert_non_null(p);
    enum err rc = sock_read(c, p, 65536, deadline_in_ms(LONG_MS), &n, NULL);
    a->b.len -= 65536 - (rc == ERR_OK ? n : 0);
    if (rc != ERR_OK && rc != ERR_CLOSED) {
        fail_msg("%s after %zu bytes: %.300s", err_name(rc), a->b.len, (const char *)a->b.ptr);
    }
    return rc == ERR_OK;
}

static const char *header_of(const struct answer *a, const char *name)
{
    static char value[256];
    char        want[64];
    (void)snprintf(want, sizeof(want), "\r\n%s: ", name);
    const char *at = memmem(a->b.ptr, a->body, want, strlen(want));
    if (at == NULL) {
        return NULL;
    }
    at += strlen(want);
    (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

/* One answer with a known length (or to the end of the stream); false: nothing came. */
static bool hear(struct sock *c, struct answer *a, bool head)
{
    const uint8_t *end = NULL;
    *a = (struct answer){0};
    buf_init(&a->b, 64 << 20);
    while (a->b.len == 0 || (end = memmem(a->b.ptr, a->b.len, "\r\n\r\n", 4)) == NULL) {
        if (!more(c, a)) {
            return false;
        }
    }
    a->body = (size_t)(end - a->b.ptr) + 4;
    a->status = (a->b.ptr[9] - '0') * 100 + (a->b.ptr[10] - '0') * 10 + (a->b.ptr[11] - '0');
    const char *length = header_of(a, "Content-Length");
    uint64_t    n = UINT64_MAX;
    if (head || a->status == 304) {
        return true;
    }
    if (length != NULL) {
        assert_true(parse_u64(str_of(length), &n));
    }
    while (a->b.len - a->body < n && more(c, a)) {
    }
    return true;
}

static bool body_is(const struct answer *a, const char *want)
{
    return bytes_eq((struct bytes){a->b.ptr + a->body, a->b.len - a->body},
                    str_bytes(str_of(want)));
}

static bool body_has(const struct answer *a, const char *want)
{
    return memmem(a->b.ptr + a->body, a->b.len - a->body, want, strlen(want)) != NULL;
}

static int ask(const char *request, struct answer *a)
{
    struct sock *c = dial();
    say(c, request);
    bool heard = hear(c, a, strncmp(request, "HEAD", 4) == 0);
    sock_free(c);
    return heard ? a->status : 0;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* -- tests -- */

static void requests_are_answered(void **state)
{
    (void)state;

    static const struct {
        const char *what, *request;
        int         status;
        const char *body, *header, *value;
    } cases[] = {
        {"simple", GET("/hello"), 200, "hello\n", "X-Arg", "here"},
        {"absolute form", GET("http://x/hello"), 200, "hello\n", "Content-Type", "text/plain"},
        {"head", "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", "Content-Length", "6"},
        {"parameters", "GET /s/1.2%20/3?q=a+b%26&y HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\n\r\n",
         200, "study=1.2  series=3 q=a b& none=1 peer=127.0.0.1 agent=me", NULL, NULL},
        {"worker", GET("/blocking"), 200, "worked", NULL, NULL},
        {"body", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", NULL,
         NULL},
        {"chunked body",
         "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
         "chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
         200, "abcd", NULL, NULL},
        {"empty body", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200, "", NULL,
         NULL},
        {"body of a GET is dropped",
         "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, "hello\n", NULL,
         NULL},
        {"no such path", GET("/nothing"), 404,
         "{\"error\":\"notfound\",\"message\":\"no such path\"}\n", "Content-Type",
         "application/json"},
        {"wrong method", "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405,
         NULL, "Allow", "GET, HEAD"},
        {"unknown method", "BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n", 405, NULL, "Allow",
         "GET, HEAD"},
        {"too long for memory", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200001\r\n\r\n",
         413, NULL, NULL, NULL},
        {"bad escape", GET("/a%zz"), 400, NULL, "Content-Type", "application/json"},
        {"dots", GET("/a/../hello"), 400, NULL, NULL, NULL},
        {"forgotten answer", GET("/forget"), 500, NULL, NULL, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(answer_done) struct answer a;
        int                                status = ask(cases[i].request, &a);
        const char *got = cases[i].header != NULL ? header_of(&a, cases[i].header) : NULL;
        if (status != cases[i].status || (cases[i].body != NULL && !body_is(&a, cases[i].body)) ||
            (cases[i].header != NULL && (got == NULL || strcmp(got, cases[i].value) != 0)) ||
            header_of(&a, "X-Request-Id") == NULL) {
            fail_msg("%s: %.*s", cases[i].what, (int)a.b.len, (const char *)a.b.ptr);
        }
    }
}

static void reasons_of_our_failures_stay_inside(void **state)
{
    (void)state;
    CLEANUP(answer_done) struct answer a;
    assert_int_equal(ask(GET("/broken"), &a), 500);
    assert_false(body_has(&a, "secret"));
    assert_true(body_has(&a, "\"error\":\"io\""));
}

static void what_is_not_http_is_refused(void **state)
{
    (void)state;
    static char long_header[40000], long_target[40000];
    memset(long_header, 'a', sizeof(long_header) - 1);
    static const char head[] = "GET /hello HTTP/1.1\r\nHost: x\r\nX: ";
    memcpy(long_header, head, sizeof(head) - 1);
    memset(long_target, 'a', sizeof(long_target) - 1);
    memcpy(long_target, head, 5);

    const struct {
        const char *what, *request;
        int         least, most; // 0: closed without an answer
    } cases[] = {
        {"garbage", "\x01\x02\x03\r\n\r\n", 0, 499},
        {"association request", "\x01\x7f\x7f\x7f\x7fGARONNE  \r\n\r\n\r\n", 0, 499},
        {"no version", "GET /hello\r\n\r\n", 0, 499},
        {"other version", "GET /hello HTTP/9.9\r\n\r\n", 0, 599},
        {"no host", "GET /hello HTTP/1.1\r\n\r\n", 400, 400},
        {"long header", long_header, 0, 431},
        {"long target", long_target, 0, 431},
        {"bad length", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 0, 499},
        {"two lengths",
         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
         400, 400},
        {"length and chunks",
         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         400, 400},
        {"bad chunk", "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
         0, 499},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(answer_done) struct answer a = {0};
        struct sock                       *c = dial();
        (void)put(c, cases[i].request, strlen(cases[i].request));
        int status = hear(c, &a, false) ? a.status : 0;
        sock_free(c);
        if (status < cases[i].least || status > cases[i].most) {
            fail_msg("%s: %d %.*s", cases[i].what, status, (int)a.b.len, (const char *)a.b.ptr);
        }
    }
    CLEANUP(answer_done) struct answer a;
    assert_int_equal(ask(GET("/hello"), &a), 200);
}

static void ranges_and_versions_of_a_file(void **state)
{
    (void)state;

    static const struct {
        const char *header;
        int         status;
        uint64_t    first, len;
        const char *content_range;
    } cases[] = {
        {"X: y", 200, 0, FILE_SIZE, NULL},
        {"Range: bytes=0-16383", 206, 0, 16384, "bytes 0-16383/3145728"},
        {"Range: bytes=3145727-", 206, 3145727, 1, "bytes 3145727-3145727/3145728"},
        {"Range: bytes=1000000-", 206, 1000000, 2145728, "bytes 1000000-3145727/3145728"},
        {"Range: bytes=-5", 206, 3145723, 5, "bytes 3145723-3145727/3145728"},
        {"Range: bytes=3145728-", 416, 0, 0, "bytes */3145728"},
        {"Range: bytes=0-1,3-4", 200, 0, FILE_SIZE, NULL},
        {"If-Range: \"v1\"\r\nRange: bytes=0-1", 206, 0, 2, "bytes 0-1/3145728"},
        {"If-Range: \"v0\"\r\nRange: bytes=0-1", 200, 0, FILE_SIZE, NULL},
        {"If-None-Match: \"v0\"", 200, 0, FILE_SIZE, NULL},
        {"If-None-Match: \"v0\", W/\"v1\"", 304, 0, 0, NULL},
        {"If-None-Match: *", 304, 0, 0, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(answer_done) struct answer a;
        char                               request[200];
        const char                        *range;
        (void)snprintf(request, sizeof(request), "GET /file HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n",
                       cases[i].header);
        bool good = ask(request, &a) == cases[i].status;
        range = header_of(&a, "Content-Range");
        good &= range == NULL
                    ? cases[i].content_range == NULL
                    : cases[i].content_range != NULL && strcmp(range, cases[i].content_range) == 0;
        if (good && cases[i].len > 0) {
            good = a.b.len - a.body == cases[i].len;
            for (size_t k = 0; good && k < cases[i].len; k++) {
                good = a.b.ptr[a.body + k] == (cases[i].first + k) % 251;
            }
        }
        if (!good) {
            fail_msg("%s: %d %s, %zu bytes", cases[i].header, a.status, range, a.b.len - a.body);
        }
    }
}

static void one_connection_carries_many_requests(void **state)
{
    (void)state;
    struct sock *c = dial();
    for (int i = 0; i < 50; i++) {
        CLEANUP(answer_done) struct answer a;
        say(c, i % 2 == 0 ? GET("/hello") : GET("/blocking"));
        assert_true(hear(c, &a, false));
        assert_int_equal(a.status, 200);
    }
    /* A refused body that is short does not cost the connection. */
    CLEANUP(answer_done) struct answer a;
    say(c, "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_true(hear(c, &a, false));
    assert_int_equal(a.status, 404);
    answer_done(&a);
    say(c, GET("/hello"));
    assert_true(hear(c, &a, false));
    assert_int_equal(a.status, 200);
    sock_free(c);
}

static void a_stream_that_has_nothing_sleeps_until_it_is_woken(void **state)
{
    static const char get[] = "GET /sleeper HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    CLEANUP(answer_done) struct answer a = {0};
    (void)state;
    for (int i = 0; i < 20; i++) { // woken before it sleeps, or after
        sleeper_naps = i % 2;
        assert_int_equal(ask(get, &a), 200);
        assert_true(memmem(a.b.ptr, a.b.len, "good morning", 12) != NULL);
        answer_done(&a);
    }
}

static void streams_of_known_and_unknown_length(void **state)
{
    (void)state;
    int                                done = atomic_load(&streams_done);
    CLEANUP(answer_done) struct answer a;
    assert_int_equal(ask(GET("/stream?n=1000000&known"), &a), 200);
    assert_int_equal(a.b.len - a.body, 1000000);
    for (size_t i = 0; i < 1000000; i++) {
        assert_int_equal(a.b.ptr[a.body + i], i % 251);
    }
    answer_done(&a);
    assert_int_equal(ask("GET /stream?n=100 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &a),
                     200);
    assert_string_equal(header_of(&a, "Transfer-Encoding"), "chunked");
    assert_true(body_has(&a, "\r\n0\r\n\r\n")); // the last chunk
    answer_done(&a);
    assert_int_equal(ask(GET("/stream?n=1000000&known&fail"), &a), 200);
    assert_int_equal(a.b.len - a.body, 500000); // short: the client sees that it broke
    answer_done(&a);
    assert_int_equal(ask(GET("/stream?n=1000&fail"), &a), 200);
    assert_false(body_has(&a, "\r\n0\r\n\r\n"));
    for (int i = 0; i < 1000 && atomic_load(&streams_done) < done + 4; i++) {
        (void)usleep(1000);
    }
    assert_int_equal(atomic_load(&streams_done), done + 4);
}

static void send_upload(struct sock *c, const char *path, const char *token, size_t n)
{
    static uint8_t piece[251 * 1000];
    char           head[200];
    for (size_t i = 0; i < sizeof(piece); i++) {
        piece[i] = (uint8_t)(i % 251);
    }
    (void)snprintf(head, sizeof(head),
                   "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   path, token, n);
    say(c, head);
    for (size_t sent = 0; sent < n;) {
        size_t len = n - sent < sizeof(piece) ? n - sent : sizeof(piece);
        if (put(c, piece, len) != ERR_OK) {
            return; // refused in the middle
        }
        sent += len;
    }
}

static void uploads_stream_and_may_be_refused(void **state)
{
    (void)state;

    static const struct {
        const char *what, *path, *token;
        size_t      n;
        int         status;
        const char *body;
    } cases[] = {
        {"large", "/upload", "good", UPLOAD, 200, "41943040 right"},
        {"empty", "/upload", "good", 0, 200, "0 right"},
        {"no right, short", "/upload", "bad", 1000, 401, "no token"},
        {"fails in the middle", "/upload?full", "good", 5000000, 409, "no more of it"},
        {"paused", "/paced", "good", UPLOAD, 200, "41943040 right"},
        {"paused, short", "/paced", "good", 1, 200, "1 right"},
        {"paused, empty", "/paced", "good", 0, 200, "0 right"},
        {"paused, refused, short", "/paced", "late", 1000, 401, "no token"},
        {"paused, refused, long", "/paced", "late", 100, 401, "no token"},
    };

    int done = atomic_load(&uploads_done);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(answer_done) struct answer a;
        struct sock                       *c = dial();
        send_upload(c, cases[i].path, cases[i].token, cases[i].n);
        bool heard = hear(c, &a, false);
        if (!heard || a.status != cases[i].status || !body_has(&a, cases[i].body)) {
            fail_msg("%s: %.*s", cases[i].what, (int)a.b.len, (const char *)a.b.ptr);
        }
        sock_free(c);
    }
    /* A long one without the right is answered before the body. */
    CLEANUP(answer_done) struct answer a;
    assert_int_equal(
        ask("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", &a), 401);
    /* One that breaks off is given back, too. */
    struct sock *c = dial();
    say(c, "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
           "Content-Length: 1000\r\n\r\nabc");
    (void)usleep(20000);
    sock_free(c);
    for (int i = 0; i < 1000 && atomic_load(&uploads_done) < done + 9; i++) {
        (void)usleep(1000);
    }
    assert_int_equal(atomic_load(&uploads_done), done + 9);
}

static void bodies_nobody_wants_end_the_connection(void **state)
{
    (void)state;
    static char  junk[300000];
    struct sock *c = dial();
    say(c, "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    (void)put(c, junk, sizeof(junk));
    CLEANUP(answer_done) struct answer a = {0};
    assert_false(hear(c, &a, false));
    sock_free(c);
}

/* n connections, all with a request in flight, several rounds. */
static void storm(int n, const char *request)
{
    struct sock **c = calloc((size_t)n, sizeof(struct sock *));
    assert_non_null(c);
    for (int i = 0; i < n; i++) {
        c[i] = dial();
    }
    int64_t start_ns = clock_mono_ns();
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < n; i++) {
            say(c[i], request);
        }
        for (int i = 0; i < n; i++) {
            CLEANUP(answer_done) struct answer a;
            assert_true(hear(c[i], &a, false));
            assert_int_equal(a.status, 200);
        }
    }
    double s = (double)(clock_mono_ns() - start_ns) / 1e9;
    for (int i = 0; i < n; i++) {
        sock_free(c[i]);
    }
    free(c);
    print_message("%d connections: %.0f requests per second\n", n, n * 10 / s);
    assert_true(s < 10); // a stall is one second a round, or more
}

static void multiples_of_128_connections_do_not_stall(void **state)
{
    (void)state;
    static const int counts[] = {127, 128, 129, 256, 384, 512};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        storm(counts[i], GET("/hello"));
    }
    storm(256, GET("/blocking"));
}

static int open_descriptors(void)
{
    int  n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL) { // NOLINT(concurrency-mt-unsafe)
        n++;
    }
    (void)closedir(d);
    return n;
}

static void slow_readers_and_vanished_ones_harm_nobody(void **state)
{
    (void)state;
    struct sock *slow[20];
    int          done = atomic_load(&streams_done), before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        slow[i] = dial();
        say(slow[i], i % 2 == 0 ? GET("/file") : GET("/stream?n=1000000000&known"));
    }
    storm(10, GET("/hello"));
    for (int i = 0; i < 20; i++) {
        sock_free(slow[i]); // in the middle of it
    }
    for (int i = 0; i < 5000; i++) {
        if (atomic_load(&streams_done) == done + 10 && open_descriptors() <= before) {
            break;
        }
        (void)usleep(1000);
    }
    assert_int_equal(atomic_load(&streams_done), done + 10);
    assert_true(open_descriptors() <= before);
}

static void slow_heads_and_idle_connections_are_ended(void **state)
{
    (void)state;
    struct http_server *s = start(300, 300);
    static const char head[] = "GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaa";
    struct sock      *c[3];
    bool              open[3] = {true, true, true};
    int64_t           start_ns = clock_mono_ns();
    for (int i = 0; i < 3; i++) {
        c[i] = dial_to(s);
    }
    say(c[1], "GET /hello HTTP/1.1\r\n");
    /* 0 is silent; 1 sends one byte of its head now and then; 2 of its request line. */
    for (size_t at = 0; open[0] || open[1] || open[2]; at++) {
        (void)usleep(50000);
        assert_true(clock_mono_ns() - start_ns < (int64_t)5 * 1000000000);
        for (int i = 0; i < 3; i++) {
            if (i > 0 && open[i]) {
                (void)put(c[i], i == 1 ? "a" : head + at % 60, 1);
            }
            open[i] = open[i] && !sock_readable(c[i], deadline_in_ms(0));
        }
    }
    for (int i = 0; i < 3; i++) {
        sock_free(c[i]);
    }
    http_stop(s, deadline_in_ms(1000));
}

static void *stop_soon(void *arg)
{
    http_stop(arg, deadline_in_ms(5000));
    return NULL;
}

static void stopping_lets_open_requests_finish(void **state)
{
    (void)state;
    struct http_server *s = start(0, 0);
    struct sock        *busy = dial_to(s), *idle = dial_to(s), *late = NULL;
    uint16_t            port = http_port(s);
    pthread_t           t;
    atomic_store(&gate, false);
    say(busy, GET("/blocking?gate"));
    CLEANUP(answer_done) struct answer first;
    say(idle, GET("/hello"));
    assert_true(hear(idle, &first, false));
    (void)usleep(20000); // the worker has it
    assert_int_equal(pthread_create(&t, NULL, stop_soon, s), 0);
    (void)usleep(50000);
    assert_int_not_equal(sock_connect(STR("127.0.0.1"), port, deadline_in_ms(1000), &late, NULL),
                         ERR_OK);
    assert_false(sock_readable(busy, deadline_in_ms(0))); // still waiting
    atomic_store(&gate, true);
    CLEANUP(answer_done) struct answer a;
    assert_true(hear(busy, &a, false));
    assert_int_equal(a.status, 200);
    assert_string_equal(header_of(&a, "Connection"), "close");
    assert_int_equal(pthread_join(t, NULL), 0);
    char   one;
    size_t n;
    assert_int_equal(sock_read(idle, &one, 1, deadline_in_ms(LONG_MS), &n, NULL), ERR_CLOSED);
    sock_free(busy);
    sock_free(idle);
}

static void *open_gate_soon(void *arg)
{
    (void)usleep(300000);
    atomic_store(&gate, true);
    return arg;
}

static void stopping_ends_what_does_not_finish(void **state)
{
    (void)state;
    struct http_server *s = start(0, 0);
    struct sock        *c[12]; // more than there are workers: some are queued
    pthread_t           t;
    atomic_store(&gate, false);
    for (int i = 0; i < 12; i++) {
        c[i] = dial_to(s);
        say(c[i], i < 10 ? GET("/blocking?gate") : GET("/stream?n=1000000000&known"));
    }
    (void)usleep(30000);
    assert_int_equal(pthread_create(&t, NULL, open_gate_soon, NULL), 0);
    http_stop(s, deadline_in_ms(50));
    assert_int_equal(pthread_join(t, NULL), 0);
    for (int i = 0; i < 12; i++) {
        sock_free(c[i]);
    }
}

static void a_port_in_use_is_an_error(void **state)
{
    (void)state;
    char                where[32];
    struct http_server *s = NULL;
    struct errmsg       e = {0};
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", http_port(server));
    const struct http_conf c = {.listen = str_of(where), .connections = 10};
    assert_int_equal(http_start(&c, routes, 1, &s, &e), ERR_IO);
    assert_non_null(strstr(e.text, "in use"));
    assert_null(s);
}

static void curl_agrees(void **state)
{
    (void)state;

    static const struct {
        const char *args, *want;
    } cases[] = {
        {"-s %s/hello", "hello"},
        {"-s -o /dev/null -w %%{http_code} -I %s/file", "200"},
        {"-s -r 0-9 -o /dev/null -w %%{http_code}-%%{size_download} %s/file", "206-10"},
        {"-s -H 'Authorization: Bearer good' -T %2$s -X POST %1$s/upload", "3145728 right"},
        {"-s -o /dev/null -w %%{http_code} -H 'Authorization: Bearer bad' -T %2$s -X POST "
         "%1$s/upload",
         "401"},
        {"-s -o /dev/null -w %%{size_download} '%s/stream?n=12345'", "12345"},
    };

    char base[64], line[64];
    (void)snprintf(base, sizeof(base), "http://127.0.0.1:%u", http_port(server));
    if (access("/usr/bin/curl", X_OK) != 0) {
        print_message("skipped: no curl here\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char args[300], cmd[320];
        memset(line, 0, sizeof(line));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(args, sizeof(args), cases[i].args, base, file_path);
#pragma GCC diagnostic pop
        (void)snprintf(cmd, sizeof(cmd), "curl %s", args);
        FILE *p = popen(cmd, "r"); // allow-banned: a test
        assert_non_null(p);
        (void)!fgets(line, sizeof(line), p);
        (void)pclose(p);
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, cases[i].want) != 0) {
            fail_msg("%s: '%s'", cmd, line);
        }
    }
}

static void metrics_count_requests(void **state)
{
    (void)state;
    CLEANUP(answer_done) struct answer a;
    assert_int_equal(ask(GET("/metrics"), &a), 200);
    assert_true(body_has(&a, "\ngaronne_http_connections "));
    assert_false(body_has(&a, "{class=\"2xx\"} 0\n"));
    assert_false(body_has(&a, "{class=\"aborted\"} 0\n"));
}

static int setup(void **state)
{
    (void)state;
    static uint8_t content[FILE_SIZE];
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(file_path, sizeof(file_path), "/tmp/garonne-http-%d", (int)getpid());
    for (size_t i = 0; i < sizeof(content); i++) {
        content[i] = (uint8_t)(i % 251);
    }
    if (file_commit(file_path, (struct bytes){content, sizeof(content)}, 0600, NULL) != ERR_OK) {
        return -1;
    }
    server = start(0, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_stop(server, deadline_in_ms(2000));
    return unlink(file_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(reasons_of_our_failures_stay_inside),
        cmocka_unit_test(what_is_not_http_is_refused),
        cmocka_unit_test(ranges_and_versions_of_a_file),
        cmocka_unit_test(one_connection_carries_many_requests),
        cmocka_unit_test(a_stream_that_has_nothing_sleeps_until_it_is_woken),
        cmocka_unit_test(streams_of_known_and_unknown_length),
        cmocka_unit_test(uploads_stream_and_may_be_refused),
        cmocka_unit_test(bodies_nobody_wants_end_the_connection),
        cmocka_unit_test(multiples_of_128_connections_do_not_stall),
        cmocka_unit_test(slow_readers_and_vanished_ones_harm_nobody),
        cmocka_unit_test(slow_heads_and_idle_connections_are_ended),
        cmocka_unit_test(stopping_lets_open_requests_finish),
        cmocka_unit_test(stopping_ends_what_does_not_finish),
        cmocka_unit_test(a_port_in_use_is_an_error),
        cmocka_unit_test(curl_agrees),
        cmocka_unit_test(metrics_count_requests),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
