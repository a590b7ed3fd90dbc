/* Peers that break the rules, written byte by byte on a socket pair, against both of our ends. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dimse/assoc.h"

#define VERIFICATION "1.2.840.10008.1.1"
#define IMPLICIT     "1.2.840.10008.1.2"
#define APPLICATION  "1.2.840.10008.3.1.1.1"

enum { MAX_PDU = 4096, QUICK_MS = 150 };

/* ---- our end: accepts, answers every message, keeps what it was told in the end */

struct ours {
    struct sock      *sock;
    struct assoc_conf conf;
    size_t            messages, bytes;
    enum err          rc;
    struct errmsg     e;
    pthread_t         thread;
    int               fd; // the peer's end
    struct assoc     *woken;
};

static enum ctx_result choose(void *arg, struct assoc_ctx *c, size_t *ret_syntax)
{
    (void)arg;
    *ret_syntax = 0;
    return c->id == 3 ? CTX_NO_ABSTRACT : CTX_ACCEPTED;
}

static enum err serve(struct ours *o, struct assoc *a)
{
    for (;;) {
        struct cmd c;
        uint8_t    ctx = 0;
        enum err   rc = msg_recv(a, &c, &ctx, &o->e);
        bool       last = rc != ERR_OK || !c.has_data;
        while (rc == ERR_OK && !last) {
            struct bytes piece = {0};
            rc = msg_data(a, &piece, &last, &o->e);
            o->bytes += piece.len;
        }
        if (rc != ERR_OK) {
            return rc;
        }
        o->messages++;
        struct cmd rsp = {.field = (uint16_t)(c.field | 0x8000), .responded_id = c.message_id};
        rc = msg_send(a, ctx, &rsp, NULL, &o->e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
}

static void *server_main(void *arg)
{
    struct ours  *o = arg;
    struct assoc *a = NULL;
    o->rc = assoc_wait(o->sock, &o->conf, &a, &o->e);
    if (o->rc == ERR_OK) {
        o->rc = assoc_accept(a, choose, NULL, NULL, 0, &o->e);
    }
    if (o->rc == ERR_OK) {
        o->rc = serve(o, a);
    }
    assoc_free(a);
    return NULL;
}

static void *client_main(void *arg)
{
    static struct str syntax = STR(IMPLICIT);
    struct assoc_ctx  ctx = {.abstract = STR(VERIFICATION), .syntaxes = &syntax, .n_syntaxes = 1};
    struct assoc_pdu  rq = {.called = STR("A"), .calling = STR("B"), .ctx = &ctx, .n_ctx = 1};
    struct ours      *o = arg;
    struct assoc     *a = NULL;
    o->rc = assoc_connect(o->sock, &o->conf, &rq, &a, &o->e);
    if (o->rc == ERR_OK) {
        o->rc = assoc_release(a, &o->e);
    }
    assoc_free(a);
    return NULL;
}

static void start(struct ours *o, void *(*fn)(void *))
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    o->sock = sock_new(fd[0]);
    o->fd = fd[1];
    o->conf.max_pdu = MAX_PDU;
    assert_int_equal(pthread_create(&o->thread, NULL, fn, o), 0);
}

/* ---- the peer */

static void put(int fd, const void *p, size_t n)
{
    (void)!send(fd, p, n, MSG_NOSIGNAL); // it may be gone already: that shows in what is read
}

static void put_pdu(int fd, uint8_t type, const void *body, size_t n)
{
    uint8_t head[6] = {type,      0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                       (uint8_t)n};
    put(fd, head, sizeof(head));
    put(fd, body, n);
}

/* Type of the next PDU; 0 at the end of the stream, 255 after a while of silence. */
static int get_pdu(int fd)
{
    static uint8_t head[6], body[65536];
    struct pollfd  p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 3000) <= 0) {
        return 255;
    }
    if (recv(fd, head, sizeof(head), MSG_WAITALL) != (ssize_t)sizeof(head)) {
        return 0;
    }
    size_t n = (size_t)head[4] << 8 | head[5];
    assert_true(n <= sizeof(body));
    return n == 0 || recv(fd, body, n, MSG_WAITALL) == (ssize_t)n ? head[0] : 0;
}

static struct assoc_pdu request(struct assoc_ctx ctx[2])
{
    static struct str syntax = STR(IMPLICIT);
    ctx[0] = (struct assoc_ctx){
        .id = 1, .abstract = STR(VERIFICATION), .syntaxes = &syntax, .n_syntaxes = 1};
    ctx[1] =
        (struct assoc_ctx){.id = 3, .abstract = STR("1.2.3"), .syntaxes = &syntax, .n_syntaxes = 1};
    return (struct assoc_pdu){.version = 1,
                              .called = STR("A"),
                              .calling = STR("B"),
                              .application = STR(APPLICATION),
                              .ctx = ctx,
                              .n_ctx = 2,
                              .max_pdu = 16384};
}

static void put_assoc(int fd, uint8_t type, const struct assoc_pdu *p)
{
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_PDU_ASSOC);
    assoc_pdu_write(type, p, &out);
    put(fd, out.ptr, out.len);
}

static void associate(int fd)
{
    struct assoc_ctx ctx[2];
    struct assoc_pdu p = request(ctx);
    put_assoc(fd, PDU_ASSOC_RQ, &p);
    assert_int_equal(get_pdu(fd), PDU_ASSOC_AC);
}

static void end(struct ours *o)
{
    (void)close(o->fd);
    assert_int_equal(pthread_join(o->thread, NULL), 0);
}

/* ---- after the association: what is sent, what comes back */

#define ECHO_CMD                                                                                   \
    0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 8, 2, 0, 0, 0
#define NO_DATA           ECHO_CMD, 1, 1
#define AND_DATA          ECHO_CMD, 0, 0
#define PDV(n, ctx, head) 0, 0, 0, (n) + 2, ctx, head

struct breach {
    const char *what;
    uint8_t     in[128];
    size_t      len;
    int         want; // first PDU back; NOT_READ: whatever it is
    enum err    rc;   // of our end
    const char *text; // NULL: no error is told
};

enum { NOT_READ = -1 };

static void try_breach(const struct breach *b, bool associated)
{
    struct ours o = {0};
    start(&o, server_main);
    if (associated) {
        associate(o.fd);
    }
    put(o.fd, b->in, b->len);
    int got = b->want == NOT_READ ? NOT_READ : get_pdu(o.fd);
    end(&o);
    bool told = b->text == NULL ? o.e.text[0] == '\0' : strstr(o.e.text, b->text) != NULL;
    if (got != b->want || o.rc != b->rc || !told) {
        fail_msg("%s: PDU %d, %s \"%s\"", b->what, got, err_name(o.rc), o.e.text);
    }
}

static const struct breach cases[] = {
    {"echo", {4, 0, 0, 0, 0, 36, PDV(30, 1, 3), NO_DATA}, 42, PDU_DATA, ERR_CLOSED, "end of"},
    {"release", {5, 0, 0, 0, 0, 4, 0, 0, 0, 0}, 10, PDU_RELEASE_RP, ERR_CLOSED, NULL},
    {"abort", {7, 0, 0, 0, 0, 4, 0, 0, 2, 1}, 10, 0, ERR_CLOSED, "unrecognized PDU"},
    {"over our maximum", {4, 0, 0, 0, 16, 1}, 6, PDU_ABORT, ERR_LIMIT, "length 4097 over 4096"},
    {"4 GiB", {4, 0, 255, 255, 255, 255}, 6, PDU_ABORT, ERR_LIMIT, "over 4096"},
    {"unknown type", {0x47}, 1, PDU_ABORT, ERR_SYNTAX, "unknown type 47"},
    {"type 0", {0, 0, 0, 0, 0, 0}, 6, PDU_ABORT, ERR_SYNTAX, "unknown type 00"},
    {"request again", {1, 0, 0, 0, 0, 2, 0, 1}, 8, PDU_ABORT, ERR_SYNTAX, "type 01 while assoc"},
    {"answer", {2, 0, 0, 0, 0, 2, 0, 1}, 8, PDU_ABORT, ERR_SYNTAX, "type 02 while assoc"},
    {"reject", {3, 0, 0, 0, 0, 4, 0, 1, 1, 1}, 10, PDU_ABORT, ERR_SYNTAX, "type 03 while assoc"},
    {"release answer", {6, 0, 0, 0, 0, 4, 0, 0, 0, 0}, 10, PDU_ABORT, ERR_SYNTAX, "type 06"},
    {"long release", {5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, 11, PDU_ABORT, ERR_SYNTAX, "4 bytes has 5"},
    {"no value", {4, 0, 0, 0, 0, 0}, 6, PDU_ABORT, ERR_SYNTAX, "without a value"},
    {"cut value", {4, 0, 0, 0, 0, 6, 0, 0, 0, 3, 1, 3}, 12, PDU_ABORT, ERR_SYNTAX, "does not fit"},
    {"even context",
     {4, 0, 0, 0, 0, 36, PDV(30, 2, 3), NO_DATA},
     42,
     PDU_ABORT,
     ERR_SYNTAX,
     "even presentation context"},
    {"rejected context",
     {4, 0, 0, 0, 0, 36, PDV(30, 3, 3), NO_DATA},
     42,
     PDU_ABORT,
     ERR_SYNTAX,
     "context 3, which was not accepted"},
    {"context never proposed",
     {4, 0, 0, 0, 0, 36, PDV(30, 255, 3), NO_DATA},
     42,
     PDU_ABORT,
     ERR_SYNTAX,
     "context 255, which"},
    {"data without a command",
     {4, 0, 0, 0, 0, 7, PDV(1, 1, 2), 9},
     13,
     PDU_ABORT,
     ERR_SYNTAX,
     "without a command"},
    {"command is no command",
     {4, 0, 0, 0, 0, 7, PDV(1, 1, 3), 9},
     13,
     PDU_ABORT,
     ERR_SYNTAX,
     "command set: element"},
    {"command inside the data",
     {4, 0, 0, 0, 0, 43, PDV(30, 1, 3), AND_DATA, PDV(1, 1, 3), 9},
     49,
     PDU_ABORT,
     ERR_SYNTAX,
     "command inside the data set"},
    {"command and data in one PDU",
     {4, 0, 0, 0, 0, 57, PDV(30, 1, 3), AND_DATA, PDV(1, 1, 0), 9, PDV(2, 1, 2), 8, 7,
      PDV(0, 1, 1)},
     57 + 6,
     PDU_DATA,
     ERR_CLOSED,
     "end of stream"},
    {"empty fragments are nothing",
     {4, 0, 0, 0, 0, 54, PDV(30, 1, 3), AND_DATA, PDV(0, 1, 0), PDV(0, 1, 0), PDV(0, 1, 2)},
     60,
     PDU_DATA,
     ERR_CLOSED,
     "end of stream"},
    {"release inside a message",
     {4, 0, 0, 0, 0, 36, PDV(30, 1, 3), AND_DATA, 5, 0, 0, 0, 0, 4, 0, 0, 0, 0},
     52,
     PDU_RELEASE_RP,
     ERR_CLOSED,
     "in the middle of a message"},
    {"end inside a PDU",
     {4, 0, 0, 0, 0, 36, PDV(30, 1, 3)},
     12,
     NOT_READ,
     ERR_CLOSED,
     "end of stream"},
};

static void every_breach_is_answered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        try_breach(&cases[i], true);
    }
}

static void fragments_of_one_byte_make_a_message(void **state)
{
    (void)state;
    static const uint8_t cmd[] = {AND_DATA};
    struct ours          o = {0};
    start(&o, server_main);
    associate(o.fd);
    for (size_t i = 0; i < sizeof(cmd); i++) {
        const uint8_t body[] = {PDV(1, 1, (i + 1 == sizeof(cmd) ? 3 : 1)), cmd[i]};
        put_pdu(o.fd, PDU_DATA, body, sizeof(body));
    }
    for (int i = 0; i < 1000; i++) {
        const uint8_t body[] = {PDV(1, 1, (i == 999 ? 2 : 0)), 7};
        put_pdu(o.fd, PDU_DATA, body, sizeof(body));
    }
    assert_int_equal(get_pdu(o.fd), PDU_DATA);
    end(&o);
    assert_int_equal(o.messages, 1);
    assert_int_equal(o.bytes, 1000);
}

static void command_sets_are_bounded(void **state)
{
    (void)state;
    struct ours    o = {0};
    static uint8_t body[4000] = {0, 0, 0x0F, 0x9C, 1, 1}; // 3994 bytes, not the last
    start(&o, server_main);
    associate(o.fd);
    for (int i = 0; i < 20; i++) {
        put_pdu(o.fd, PDU_DATA, body, sizeof(body));
    }
    assert_int_equal(get_pdu(o.fd), PDU_ABORT);
    end(&o);
    assert_int_equal(o.rc, ERR_LIMIT);
    assert_non_null(strstr(o.e.text, "command set over"));
}

/* ---- before the association */

static void refuses_other_versions_and_applications(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ours      o = {0};
        struct assoc_ctx ctx[2];
        struct assoc_pdu p = request(ctx);
        p.version = i == 0 ? 2 : 1;
        p.application = i == 0 ? p.application : STR("1.2.3");
        start(&o, server_main);
        put_assoc(o.fd, PDU_ASSOC_RQ, &p);
        assert_int_equal(get_pdu(o.fd), PDU_ASSOC_RJ);
        end(&o);
        assert_int_equal(o.rc, ERR_DENIED);
        assert_non_null(strstr(o.e.text, i == 0 ? "protocol version" : "application context"));
    }
}

static const struct breach first[] = {
    {"nothing", {0}, 0, NOT_READ, ERR_CLOSED, "end of stream"},
    {"HTTP", "GET / HTTP/1.1\r\n", 16, PDU_ABORT, ERR_SYNTAX, "unknown type 47"},
    {"TLS on a plain port", {0x16, 3, 1}, 3, PDU_ABORT, ERR_SYNTAX, "unknown type 16"},
    {"data", {4, 0, 0, 0, 0, 0}, 6, PDU_ABORT, ERR_SYNTAX, "type 04 while awaiting a request"},
    {"abort", {7, 0, 0, 0, 0, 4, 0, 0, 0, 0}, 10, 0, ERR_CLOSED, "aborted by the peer"},
    {"request of 2 MiB", {1, 0, 0, 32, 0, 0}, 6, PDU_ABORT, ERR_LIMIT, "over"},
    {"empty request", {1, 0, 0, 0, 0, 0}, 6, PDU_ABORT, ERR_SYNTAX, "cut or malformed"},
};

static void first_bytes_are_a_request_or_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
        try_breach(&first[i], false);
    }
}

static void large_request_is_read(void **state)
{
    (void)state;

    enum { N = 128, SYNTAXES = 40 };
    static struct str       syntaxes[SYNTAXES];
    static struct assoc_ctx ctx[N];
    static struct assoc_ctx few[2];
    struct assoc_pdu        p = request(few);
    struct ours             o = {0};
    for (size_t i = 0; i < SYNTAXES; i++) {
        syntaxes[i] = STR("1.2.840.113619.5.2.1234567890.1234567890.1234567890.1234567890");
    }
    for (size_t i = 0; i < N; i++) {
        ctx[i] = (struct assoc_ctx){.id = (uint8_t)(2 * i + 1),
                                    .abstract = STR(VERIFICATION),
                                    .syntaxes = syntaxes,
                                    .n_syntaxes = SYNTAXES};
    }
    p.ctx = ctx;
    p.n_ctx = N;
    start(&o, server_main);
    put_assoc(o.fd, PDU_ASSOC_RQ, &p);
    assert_int_equal(get_pdu(o.fd), PDU_ASSOC_AC);
    put_pdu(o.fd, PDU_RELEASE_RQ, "\0\0\0", 4);
    assert_int_equal(get_pdu(o.fd), PDU_RELEASE_RP);
    end(&o);
    assert_string_equal(o.e.text, "");
}

static void peers_that_take_no_data_are_refused(void **state)
{
    (void)state;
    struct ours      o = {0};
    struct assoc_ctx ctx[2];
    struct assoc_pdu p = request(ctx);
    p.max_pdu = 7;
    start(&o, server_main);
    put_assoc(o.fd, PDU_ASSOC_RQ, &p);
    assert_int_equal(get_pdu(o.fd), PDU_ABORT);
    end(&o);
    assert_int_equal(o.rc, ERR_SYNTAX);
}

/* ---- time */

static void silence_ends_by_itself(void **state)
{
    (void)state;
    struct ours o = {.conf = {.artim_ms = QUICK_MS}};
    start(&o, server_main);
    assert_int_equal(get_pdu(o.fd), 0); // ARTIM in Sta2 closes without a word
    end(&o);
    assert_int_equal(o.rc, ERR_TIMEOUT);
    o = (struct ours){.conf = {.idle_ms = QUICK_MS}};
    start(&o, server_main);
    associate(o.fd);
    assert_int_equal(get_pdu(o.fd), PDU_ABORT);
    end(&o);
    assert_int_equal(o.rc, ERR_TIMEOUT);
}

/* Until our end hangs up: how many single bytes did it take? */
static int drip(int fd)
{
    for (int i = 0; i < 100; i++) {
        const uint8_t one = i == 0 ? PDU_DATA : 0;
        if (send(fd, i == 5 ? "\xFF" : (const char *)&one, 1, MSG_NOSIGNAL) != 1) {
            return i;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, QUICK_MS / 5) > 0) {
            return i;
        }
    }
    return 100;
}

static void drops_do_not_keep_a_pdu_alive(void **state)
{
    (void)state;
    struct ours o = {.conf = {.idle_ms = QUICK_MS}};
    start(&o, server_main);
    associate(o.fd);
    int n = drip(o.fd);
    assert_in_range(n, 2, 30);
    assert_int_equal(get_pdu(o.fd), PDU_ABORT);
    end(&o);
    assert_int_equal(o.rc, ERR_TIMEOUT);
    o = (struct ours){.conf = {.artim_ms = QUICK_MS}};
    start(&o, server_main);
    n = drip(o.fd);
    assert_in_range(n, 0, 30);
    end(&o);
    assert_int_equal(o.rc, ERR_TIMEOUT);
}

static void a_peer_that_stays_after_release_is_left(void **state)
{
    (void)state;
    struct ours o = {.conf = {.artim_ms = QUICK_MS}};
    start(&o, server_main);
    associate(o.fd);
    put_pdu(o.fd, PDU_RELEASE_RQ, "\0\0\0", 4);
    assert_int_equal(get_pdu(o.fd), PDU_RELEASE_RP);
    assert_int_equal(get_pdu(o.fd), 0);
    end(&o);
    assert_int_equal(o.rc, ERR_CLOSED);
    assert_string_equal(o.e.text, "");
}

static void *sender_main(void *arg)
{
    struct ours   *o = arg;
    struct assoc  *a = NULL;
    static uint8_t data[4 << 20];
    o->rc = assoc_wait(o->sock, &o->conf, &a, &o->e);
    if (o->rc == ERR_OK) {
        o->rc = assoc_accept(a, choose, NULL, NULL, 0, &o->e);
    }
    struct bytes     b = {data, sizeof(data)};
    const struct cmd c = {.field = C_STORE_RQ, .message_id = 1};
    while (o->rc == ERR_OK) {
        o->rc = msg_send(a, 1, &c, &b, &o->e);
    }
    assoc_free(a);
    return NULL;
}

static void abort_while_we_send_is_told(void **state)
{
    (void)state;
    struct ours o = {0};
    start(&o, sender_main);
    associate(o.fd);
    assert_int_equal(get_pdu(o.fd), PDU_DATA);
    put_pdu(o.fd, PDU_ABORT, "\0\0\0", 4);
    end(&o);
    assert_int_equal(o.rc, ERR_CLOSED);
    assert_string_equal(o.e.text, "aborted by the peer");
}

static void a_peer_that_does_not_read_is_left(void **state)
{
    (void)state;
    struct ours o = {.conf = {.send_ms = QUICK_MS}};
    start(&o, sender_main);
    associate(o.fd);
    assert_int_equal(pthread_join(o.thread, NULL), 0);
    (void)close(o.fd);
    assert_int_equal(o.rc, ERR_TIMEOUT);
    assert_non_null(strstr(o.e.text, "sending"));
}

static void *waking_main(void *arg)
{
    struct ours  *o = arg;
    struct assoc *a = NULL;
    struct cmd    c;
    uint8_t       ctx;
    o->rc = assoc_wait(o->sock, &o->conf, &a, &o->e);
    if (o->rc == ERR_OK) {
        o->rc = assoc_accept(a, choose, NULL, NULL, 0, &o->e);
    }
    if (o->rc == ERR_OK) {
        __atomic_store_n(&o->woken, a, __ATOMIC_RELEASE);
        o->rc = msg_recv(a, &c, &ctx, &o->e);
    }
    return NULL;
}

static void another_thread_can_end_it(void **state)
{
    (void)state;
    struct ours o = {0};
    start(&o, waking_main);
    associate(o.fd);
    while (__atomic_load_n(&o.woken, __ATOMIC_ACQUIRE) == NULL) {
        (void)usleep(1000);
    }
    assoc_wake(o.woken);
    assert_int_equal(pthread_join(o.thread, NULL), 0);
    assert_int_equal(o.rc, ERR_CLOSED);
    assoc_free(o.woken);
    (void)close(o.fd);
}

/* ---- against our client */

static struct assoc_pdu answer(struct assoc_ctx ctx[2])
{
    struct assoc_pdu p = request(ctx);
    p.n_ctx = 1;
    return p;
}

static void client_expects(const char *what, const struct assoc_pdu *ac, enum err rc,
                           const char *text)
{
    struct ours o = {0};
    start(&o, client_main);
    assert_int_equal(get_pdu(o.fd), PDU_ASSOC_RQ);
    put_assoc(o.fd, PDU_ASSOC_AC, ac);
    int got = get_pdu(o.fd);
    if (rc == ERR_OK) {
        assert_int_equal(got, PDU_RELEASE_RQ);
        put_pdu(o.fd, PDU_RELEASE_RP, "\0\0\0", 4);
    }
    end(&o);
    if ((rc != ERR_OK && got != PDU_ABORT) || o.rc != rc || strstr(o.e.text, text) == NULL) {
        fail_msg("%s: PDU %d, %s \"%s\"", what, got, err_name(o.rc), o.e.text);
    }
}

static void client_checks_the_answer(void **state)
{
    (void)state;
    static struct str other = STR("1.2.840.10008.1.2.2");
    struct assoc_ctx  ctx[2];
    struct assoc_pdu  p = answer(ctx);
    client_expects("good", &p, ERR_OK, "");
    ctx[0].id = 5;
    client_expects("context", &p, ERR_SYNTAX, "context 5, which was not proposed");
    ctx[0].id = 1;
    ctx[0].syntaxes = &other;
    client_expects("syntax", &p, ERR_SYNTAX, "syntax not proposed");
    ctx[0].result = CTX_NO_SYNTAX;
    client_expects("rejected contexts name any syntax", &p, ERR_OK, "");
    ctx[0].result = CTX_ACCEPTED;
    ctx[0].n_syntaxes = 0;
    client_expects("accepted without a syntax", &p, ERR_SYNTAX, "syntax not proposed");
    p = answer(ctx);
    p.max_pdu = 3;
    client_expects("maximum", &p, ERR_SYNTAX, "maximum PDU length of 3");
}

static void client_tells_a_rejection_in_words(void **state)
{
    (void)state;
    struct ours o = {0};
    start(&o, client_main);
    assert_int_equal(get_pdu(o.fd), PDU_ASSOC_RQ);
    put_pdu(o.fd, PDU_ASSOC_RJ, "\0\2\3\2", 4);
    assert_int_equal(get_pdu(o.fd), 0);
    end(&o);
    assert_int_equal(o.rc, ERR_DENIED);
    assert_string_equal(o.e.text, "association rejected for now: local limit exceeded");
}

static void client_gives_up_waiting(void **state)
{
    (void)state;
    struct ours o = {.conf = {.artim_ms = QUICK_MS}};
    start(&o, client_main);
    assert_int_equal(get_pdu(o.fd), PDU_ASSOC_RQ);
    assert_int_equal(get_pdu(o.fd), PDU_ABORT);
    end(&o);
    assert_int_equal(o.rc, ERR_TIMEOUT);
}

static void releases_may_collide(void **state)
{
    (void)state;
    struct assoc_ctx ctx[2];
    struct assoc_pdu p = answer(ctx);
    struct ours      o = {0};
    start(&o, client_main);
    assert_int_equal(get_pdu(o.fd), PDU_ASSOC_RQ);
    put_assoc(o.fd, PDU_ASSOC_AC, &p);
    assert_int_equal(get_pdu(o.fd), PDU_RELEASE_RQ);
    static const uint8_t late[] = {PDV(1, 1, 2), 9};
    put_pdu(o.fd, PDU_DATA, late, sizeof(late)); // still under way: of no use any more
    put_pdu(o.fd, PDU_RELEASE_RQ, "\0\0\0", 4);
    assert_int_equal(get_pdu(o.fd), PDU_RELEASE_RP);
    put_pdu(o.fd, PDU_RELEASE_RP, "\0\0\0", 4);
    assert_int_equal(get_pdu(o.fd), 0);
    end(&o);
    assert_int_equal(o.rc, ERR_OK);
}

static void *releasing_main(void *arg)
{
    struct ours  *o = arg;
    struct assoc *a = NULL;
    o->rc = assoc_wait(o->sock, &o->conf, &a, &o->e);
    if (o->rc == ERR_OK) {
        o->rc = assoc_accept(a, choose, NULL, NULL, 0, &o->e);
    }
    if (o->rc == ERR_OK) {
        o->rc = assoc_release(a, &o->e);
    }
    assoc_free(a);
    return NULL;
}

static void releases_may_collide_on_the_acceptors_side(void **state)
{
    (void)state;
    struct ours o = {0};
    start(&o, releasing_main);
    associate(o.fd);
    assert_int_equal(get_pdu(o.fd), PDU_RELEASE_RQ);
    put_pdu(o.fd, PDU_RELEASE_RQ, "\0\0\0", 4);
    put_pdu(o.fd, PDU_RELEASE_RP, "\0\0\0", 4); // Sta11 of the requestor waits for ours
    assert_int_equal(get_pdu(o.fd), PDU_RELEASE_RP);
    end(&o);
    assert_int_equal(o.rc, ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_breach_is_answered),
        cmocka_unit_test(fragments_of_one_byte_make_a_message),
        cmocka_unit_test(command_sets_are_bounded),
        cmocka_unit_test(refuses_other_versions_and_applications),
        cmocka_unit_test(first_bytes_are_a_request_or_else),
        cmocka_unit_test(large_request_is_read),
        cmocka_unit_test(peers_that_take_no_data_are_refused),
        cmocka_unit_test(silence_ends_by_itself),
        cmocka_unit_test(drops_do_not_keep_a_pdu_alive),
        cmocka_unit_test(a_peer_that_stays_after_release_is_left),
        cmocka_unit_test(abort_while_we_send_is_told),
        cmocka_unit_test(a_peer_that_does_not_read_is_left),
        cmocka_unit_test(another_thread_can_end_it),
        cmocka_unit_test(client_checks_the_answer),
        cmocka_unit_test(client_tells_a_rejection_in_words),
        cmocka_unit_test(client_gives_up_waiting),
        cmocka_unit_test(releases_may_collide),
        cmocka_unit_test(releases_may_collide_on_the_acceptors_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
