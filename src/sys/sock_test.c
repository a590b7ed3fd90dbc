#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/sock.h"

enum { LONG_MS = 10000, SHORT_MS = 60 };

struct pair {
    int          listener;
    uint16_t     port;
    struct sock *client, *server;
};

static void pair_init(struct pair *p, const char *where, const char *host)
{
    struct errmsg e = {0};
    *p = (struct pair){.listener = -1};
    if (sock_listen(str_of(where), &p->listener, &p->port, &e) != ERR_OK ||
        sock_connect(str_of(host), p->port, deadline_in_ms(LONG_MS), &p->client, &e) != ERR_OK ||
        sock_accept(p->listener, deadline_in_ms(LONG_MS), &p->server, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static void pair_done(struct pair *p)
{
    sock_free(p->client);
    sock_free(p->server);
    (void)close(p->listener);
}

static enum err put(struct sock *s, const char *z)
{
    char         copy[64];
    struct iovec v = {copy, strlen(z)};
    memcpy(copy, z, v.iov_len);
    return sock_write(s, &v, 1, deadline_in_ms(LONG_MS), NULL);
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    CLEANUP(pair_done) struct pair p;
    pair_init(&p, "127.0.0.1:0", "127.0.0.1");
    char   got[64] = "";
    size_t n = 0;
    assert_true(p.port != 0);
    assert_true(str_eq(sock_peer(p.server), STR("127.0.0.1")));
    assert_int_equal(put(p.client, "ping"), ERR_OK);
    assert_true(sock_readable(p.server, deadline_in_ms(LONG_MS)));
    assert_int_equal(sock_read(p.server, got, 64, deadline_in_ms(LONG_MS), &n, NULL), ERR_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(got, "ping", 4);
    struct iovec v[] = {{"", 0}, {"po", 2}, {"", 0}, {"ng", 2}, {"", 0}};
    assert_int_equal(sock_write(p.server, v, 5, deadline_in_ms(LONG_MS), NULL), ERR_OK);
    assert_int_equal(sock_read(p.client, got, 64, deadline_in_ms(LONG_MS), &n, NULL), ERR_OK);
    assert_int_equal(n, 4); // one segment
    assert_memory_equal(got, "pong", 4);
}

static void both_versions_of_ip_work(void **state)
{
    (void)state;

    static const struct {
        const char *where, *host, *peer;
    } cases[] = {
        {"[::1]:0", "::1", "::1"},
        {"[::]:0", "127.0.0.1", "127.0.0.1"}, // not ::ffff:127.0.0.1
        {"0.0.0.0:0", "localhost", "127.0.0.1"},
    };

    int           fd = -1;
    uint16_t      port;
    struct errmsg e = {0};
    if (sock_listen(STR("[::1]:0"), &fd, &port, &e) != ERR_OK) {
        print_message("skipped: no IPv6 here (%s)\n", e.text);
        skip();
    }
    (void)close(fd);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(pair_done) struct pair p;
        pair_init(&p, cases[i].where, cases[i].host);
        struct str peer = sock_peer(p.server);
        if (!str_eq(peer, str_of(cases[i].peer))) {
            fail_msg("%s: %.*s", cases[i].where, STR_ARG(peer));
        }
    }
}

static void bad_addresses_are_refused_with_words(void **state)
{
    (void)state;

    static const struct {
        const char *where;
        enum err    want;
    } cases[] = {
        {"", ERR_SYNTAX},
        {":", ERR_SYNTAX},
        {":80", ERR_SYNTAX},
        {"127.0.0.1", ERR_SYNTAX},
        {"127.0.0.1:", ERR_SYNTAX},
        {"127.0.0.1:65536", ERR_SYNTAX},
        {"127.0.0.1:-1", ERR_SYNTAX},
        {"::1:80", ERR_SYNTAX},
        {"[]:80", ERR_SYNTAX},
        {"[::1:0", ERR_SYNTAX},
        {"192.0.2.1:0", ERR_IO}, // not an address of this machine
        {"not a name:0", ERR_IO},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct errmsg e = {0};
        int           fd = -1;
        uint16_t      port;
        enum err      rc = sock_listen(str_of(cases[i].where), &fd, &port, &e);
        if (rc != cases[i].want || e.text[0] == '\0' || fd != -1) {
            fail_msg("'%s': %s %s", cases[i].where, err_name(rc), e.text);
        }
    }
}

static void a_taken_port_and_a_closed_port_are_errors(void **state)
{
    (void)state;
    CLEANUP(pair_done) struct pair p;
    pair_init(&p, "127.0.0.1:0", "127.0.0.1");
    char          where[32];
    struct errmsg e = {0};
    struct sock  *s = NULL;
    int           fd = -1;
    uint16_t      port = 0;
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", p.port);
    assert_int_equal(sock_listen(str_of(where), &fd, &port, &e), ERR_IO);
    assert_non_null(strstr(e.text, "Address already in use"));

    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &fd, &port, NULL), ERR_OK);
    (void)close(fd); // so that nobody listens there
    e = (struct errmsg){0};
    assert_int_equal(sock_connect(STR("127.0.0.1"), port, deadline_in_ms(LONG_MS), &s, &e), ERR_IO);
    assert_non_null(strstr(e.text, "Connection refused"));
    assert_null(s);
}

static void deadlines_end_every_wait(void **state)
{
    (void)state;
    CLEANUP(pair_done) struct pair p;
    pair_init(&p, "127.0.0.1:0", "127.0.0.1");
    char           got[8];
    size_t         n = 0;
    struct sock   *s = NULL;
    static uint8_t big[64 << 20]; // more than the socket buffers hold
    struct iovec   v = {big, sizeof(big)};
    int64_t        start = clock_mono_ns();
    assert_int_equal(sock_read(p.server, got, 8, deadline_in_ms(SHORT_MS), &n, NULL), ERR_TIMEOUT);
    assert_true(clock_mono_ns() - start >= (int64_t)SHORT_MS * 1000000);
    assert_false(sock_readable(p.server, deadline_in_ms(SHORT_MS)));
    assert_int_equal(sock_accept(p.listener, deadline_in_ms(SHORT_MS), &s, NULL), ERR_TIMEOUT);
    assert_int_equal(sock_write(p.server, &v, 1, deadline_in_ms(SHORT_MS), NULL), ERR_TIMEOUT);
    assert_true(clock_mono_ns() - start < (int64_t)LONG_MS * 1000000);
    assert_int_equal(sock_read(p.server, got, 8, deadline_in_ms(-1), &n, NULL), ERR_TIMEOUT);
}

static void what_is_already_there_is_read_after_the_deadline(void **state)
{
    (void)state;
    CLEANUP(pair_done) struct pair p;
    pair_init(&p, "127.0.0.1:0", "127.0.0.1");
    char   got[8];
    size_t n = 0;
    assert_int_equal(put(p.client, "x"), ERR_OK);
    assert_true(sock_readable(p.server, deadline_in_ms(LONG_MS)));
    assert_int_equal(sock_read(p.server, got, 8, deadline_in_ms(-1), &n, NULL), ERR_OK);
}

static void the_end_and_a_reset_are_closed(void **state)
{
    (void)state;
    char   got[8];
    size_t n = 0;
    for (int reset = 0; reset < 2; reset++) {
        CLEANUP(pair_done) struct pair p;
        pair_init(&p, "127.0.0.1:0", "127.0.0.1");
        if (reset) {
            struct linger l = {.l_onoff = 1, .l_linger = 0};
            assert_int_equal(setsockopt(sock_fd(p.client), SOL_SOCKET, SO_LINGER, &l, sizeof(l)),
                             0);
        }
        sock_free(p.client);
        p.client = NULL;
        assert_true(sock_readable(p.server, deadline_in_ms(LONG_MS)));
        struct errmsg e = {0};
        assert_int_equal(sock_read(p.server, got, 8, deadline_in_ms(LONG_MS), &n, &e), ERR_CLOSED);
        assert_true(e.text[0] != '\0');
        enum err rc = ERR_OK;
        for (int i = 0; i < 100 && rc == ERR_OK; i++) {
            rc = put(p.server, "anybody there?"); // no SIGPIPE
        }
        assert_int_equal(rc, ERR_CLOSED);
    }
}

static void *wake_soon(void *arg)
{
    (void)usleep(30000);
    sock_wake(arg);
    return NULL;
}

static void another_thread_wakes_a_blocked_read_and_write(void **state)
{
    (void)state;
    static uint8_t big[64 << 20];
    for (int write = 0; write < 2; write++) {
        CLEANUP(pair_done) struct pair p;
        pair_init(&p, "127.0.0.1:0", "127.0.0.1");
        char         got[8];
        size_t       n = 0;
        pthread_t    t;
        struct iovec v = {big, sizeof(big)};
        assert_int_equal(pthread_create(&t, NULL, wake_soon, p.server), 0);
        enum err rc = write ? sock_write(p.server, &v, 1, deadline_in_ms(LONG_MS), NULL)
                            : sock_read(p.server, got, 8, deadline_in_ms(LONG_MS), &n, NULL);
        assert_int_equal(pthread_join(t, NULL), 0);
        assert_int_equal(rc, ERR_CLOSED);
    }
}

static void a_woken_sock_reads_nothing_more(void **state)
{
    (void)state;
    CLEANUP(pair_done) struct pair p;
    pair_init(&p, "127.0.0.1:0", "127.0.0.1");
    char   got[8];
    size_t n = 0;
    assert_int_equal(put(p.client, "x"), ERR_OK);
    assert_true(sock_readable(p.server, deadline_in_ms(LONG_MS)));
    sock_wake(p.server);
    assert_int_equal(sock_read(p.server, got, 8, deadline_in_ms(LONG_MS), &n, NULL), ERR_CLOSED);
}

static void a_listener_that_is_shut_down_ends_accept(void **state)
{
    (void)state;
    int          fd = -1;
    uint16_t     port;
    struct sock *s = NULL;
    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &fd, &port, NULL), ERR_OK);
    assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
    assert_int_equal(sock_accept(fd, deadline_in_ms(LONG_MS), &s, NULL), ERR_CLOSED);
    (void)close(fd);
}

struct sink {
    struct sock *s;
    size_t       total;
    bool         right;
};

/* Reads slowly and in odd sizes, and checks that byte i is i modulo 251. */
static void *drain(void *arg)
{
    struct sink   *k = arg;
    static uint8_t got[7777];
    size_t         n = 0;
    k->right = true;
    while (sock_read(k->s, got, sizeof(got), deadline_in_ms(LONG_MS), &n, NULL) == ERR_OK) {
        for (size_t i = 0; i < n; i++) {
            k->right &= got[i] == (k->total + i) % 251;
        }
        k->total += n;
    }
    return NULL;
}

static void many_pieces_arrive_whole_and_in_order(void **state)
{
    (void)state;

    enum { PIECES = 3000, EACH = 4001 }; // more than one sendmsg takes
    CLEANUP(pair_done) struct pair p;
    pair_init(&p, "127.0.0.1:0", "127.0.0.1");
    uint8_t      *all = malloc((size_t)PIECES * EACH);
    struct iovec *v = calloc(PIECES, sizeof(*v));
    struct sink   k = {.s = p.client};
    pthread_t     t;
    assert_true(all != NULL && v != NULL);
    for (size_t i = 0; i < (size_t)PIECES * EACH; i++) {
        all[i] = (uint8_t)(i % 251);
    }
    for (size_t i = 0; i < PIECES; i++) {
        v[i] = (struct iovec){all + i * EACH, EACH};
    }
    assert_int_equal(pthread_create(&t, NULL, drain, &k), 0);
    assert_int_equal(sock_write(p.server, v, PIECES, deadline_in_ms(LONG_MS), NULL), ERR_OK);
    sock_free(p.server);
    p.server = NULL;
    assert_int_equal(pthread_join(t, NULL), 0);
    free(v);
    free(all);
    assert_int_equal(k.total, (size_t)PIECES * EACH);
    assert_true(k.right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(both_versions_of_ip_work),
        cmocka_unit_test(bad_addresses_are_refused_with_words),
        cmocka_unit_test(a_taken_port_and_a_closed_port_are_errors),
        cmocka_unit_test(deadlines_end_every_wait),
        cmocka_unit_test(what_is_already_there_is_read_after_the_deadline),
        cmocka_unit_test(the_end_and_a_reset_are_closed),
        cmocka_unit_test(another_thread_wakes_a_blocked_read_and_write),
        cmocka_unit_test(a_woken_sock_reads_nothing_more),
        cmocka_unit_test(a_listener_that_is_shut_down_ends_accept),
        cmocka_unit_test(many_pieces_arrive_whole_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
