/* Both ends ours, over a socket pair. */
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
#include "dimse/test_support.h"

static struct sock *server_start(struct server *s, pthread_t *ret)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    s->sock = sock_new(fd[0]);
    buf_init(&s->kept, 1 << 20);
    assert_int_equal(pthread_create(ret, NULL, server_main, s), 0);
    return sock_new(fd[1]);
}

static void server_join(struct server *s, pthread_t t)
{
    assert_int_equal(pthread_join(t, NULL), 0);
    buf_done(&s->kept);
}

/* ---- a client */

static struct assoc *connect_to(struct sock *s, const struct assoc_conf *conf)
{
    static struct str syntaxes[] = {STR(EXPLICIT), STR(IMPLICIT)};

    struct assoc_ctx ctx[] = {
        {.abstract = STR(VERIFICATION), .syntaxes = syntaxes + 1, .n_syntaxes = 1},
        {.abstract = STR(CT),
         .syntaxes = syntaxes,
         .n_syntaxes = 2,
         .has_role = true,
         .scu_role = true,
         .scp_role = true},
        {.abstract = STR("1.3.9"), .syntaxes = syntaxes, .n_syntaxes = 2},
    };

    struct assoc_pdu rq = {.called = STR("GARONNE"),
                           .calling = STR("TEST"),
                           .ctx = ctx,
                           .n_ctx = 3,
                           .has_window = true,
                           .invoked = 10,
                           .performed = 1};
    struct assoc    *a = NULL;
    struct errmsg    e = {0};
    if (assoc_connect(s, conf, &rq, &a, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return a;
}

static void expect_response(struct assoc *a, uint16_t id, uint16_t field)
{
    struct cmd    c = {0};
    uint8_t       ctx = 0;
    struct errmsg e = {0};
    if (msg_recv(a, &c, &ctx, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(c.field, field);
    assert_int_equal(c.responded_id, id);
    assert_int_equal(c.status, 0);
}

static void association_is_negotiated(void **state)
{
    (void)state;
    struct server           s = {0};
    const struct assoc_conf conf = {0};
    pthread_t               t;
    struct assoc           *a = connect_to(server_start(&s, &t), &conf);
    const struct assoc_ctx *ct = assoc_ctx_for(a, STR(CT), STR(""));
    assert_non_null(ct);
    assert_int_equal(ct->id, 3);
    assert_true(str_eq(ct->syntaxes[0], STR(EXPLICIT)));
    assert_true(ct->has_role && !ct->scu_role && ct->scp_role);
    assert_null(assoc_ctx_for(a, STR(CT), STR(IMPLICIT)));
    assert_null(assoc_ctx_for(a, STR("1.3.9"), STR("")));
    assert_null(assoc_ctx(a, 5));
    assert_null(assoc_ctx(a, 7));
    assert_null(assoc_ctx(a, 2));
    assert_int_equal(assoc_answer(a)->ctx[2].result, CTX_NO_ABSTRACT);
    assert_true(assoc_answer(a)->has_window);
    assert_int_equal(assoc_answer(a)->invoked, 1);
    assert_int_equal(assoc_answer(a)->max_pdu, LIMIT_PDU_MAX);
    const struct cmd echo = {
        .field = C_ECHO_RQ, .message_id = assoc_next_id(a), .class_uid = STR(VERIFICATION)};
    struct errmsg e = {0};
    assert_int_equal(msg_send(a, 1, &echo, NULL, &e), ERR_OK);
    expect_response(a, 1, C_ECHO_RSP);
    assert_int_equal(assoc_release(a, &e), ERR_OK);
    assoc_free(a);
    server_join(&s, t);
    assert_int_equal(s.rc, ERR_CLOSED);
    assert_string_equal(s.e.text, ""); // in order
    assert_int_equal(s.messages, 1);
    assert_string_equal(s.calling, "TEST");
    assert_string_equal(s.called, "GARONNE");
}

static struct bytes pattern(uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(i * 31 + i / 251);
    }
    return (struct bytes){to, n};
}

enum way { WHOLE, PIECES, FROM_FILE, MIXED, WAY__COUNT };

static enum err send_way(struct assoc *a, enum way way, const struct cmd *c, struct bytes data,
                         struct errmsg *e)
{
    if (way == WHOLE) {
        return msg_send(a, 3, c, &data, e);
    }
    enum err rc = msg_send_begin(a, 3, c, e);
    size_t   step = 1;
    int      fd = -1;
    while (rc == ERR_OK && data.len > 0) {
        size_t n = way == FROM_FILE || data.len < step ? data.len : step;
        bool   from_file = way == FROM_FILE || (way == MIXED && step % 2 == 0);
        if (from_file) {
            fd = temp_file(data);
            rc = msg_send_file(a, fd, 0, n, e);
            (void)close(fd);
        } else {
            rc = msg_send_add(a, (struct bytes){data.ptr, n}, e);
        }
        data = (struct bytes){data.ptr + n, data.len - n};
        step = step * 3 + 1;
    }
    return rc == ERR_OK ? msg_send_end(a, e) : rc;
}

static void sizes_arrive(struct server *s, struct assoc *a, enum way way)
{
    static const size_t sizes[] = {0, 2, 50, 120, 16372, 131066, 131068, 700000};
    static uint8_t      data[700000];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (s->conf.max_pdu < 64 && sizes[i] > 1000) {
            continue; // slow, and nothing new
        }
        const struct cmd c = {.field = C_STORE_RQ,
                              .message_id = assoc_next_id(a),
                              .class_uid = STR(CT),
                              .sop_uid = STR("1.2.3")};
        struct errmsg    e = {0};
        if (send_way(a, way, &c, pattern(data, sizes[i]), &e) != ERR_OK) {
            fail_msg("maximum %u, %zu bytes: %s", s->conf.max_pdu, sizes[i], e.text);
        }
        expect_response(a, c.message_id, C_STORE_RSP);
        assert_int_equal(s->kept.len, sizes[i]);
        assert_memory_equal(sizes[i] > 0 ? s->kept.ptr : data, data, sizes[i]);
    }
}

static void data_sets_arrive_whatever_the_pdu_size(void **state)
{
    (void)state;
    static const uint32_t max[] = {8, 9, 64, 4096, 16384, 131072, 1 << 20};
    for (size_t m = 0; m < sizeof(max) / sizeof(max[0]); m++) {
        struct server           s = {.conf = {.max_pdu = max[m]}};
        const struct assoc_conf conf = {0};
        pthread_t               t;
        struct assoc           *a = connect_to(server_start(&s, &t), &conf);
        struct errmsg           e = {0};
        for (int way = 0; way < WAY__COUNT; way++) {
            sizes_arrive(&s, a, (enum way)way);
        }
        assert_int_equal(assoc_release(a, &e), ERR_OK);
        assoc_free(a);
        server_join(&s, t);
        assert_string_equal(s.e.text, "");
    }
}

static void send_twice(enum reading how)
{
    struct server           s = {.reading = how};
    const struct assoc_conf conf = {0};
    static uint8_t          data[1100000]; // over what the server keeps
    struct bytes            b = pattern(data, sizeof(data));
    pthread_t               t;
    struct assoc           *a = connect_to(server_start(&s, &t), &conf);
    struct errmsg           e = {0};
    for (uint16_t id = 1; id < 3; id++) {
        const struct cmd c = {.field = C_STORE_RQ, .message_id = id, .class_uid = STR(CT)};
        assert_int_equal(msg_send(a, 3, &c, &b, &e), ERR_OK);
        expect_response(a, id, C_STORE_RSP);
    }
    assert_int_equal(assoc_release(a, &e), ERR_OK);
    assoc_free(a);
    server_join(&s, t);
    assert_int_equal(s.messages, 2);
    assert_string_equal(s.e.text, "");
}

static void unread_data_is_skipped(void **state)
{
    (void)state;
    send_twice(NOT_AT_ALL);
}

static void data_set_over_the_limit_is_drained(void **state)
{
    (void)state;
    send_twice(AS_A_WHOLE);
}

static void polling_finds_nothing_and_freeing_aborts(void **state)
{
    (void)state;
    struct server           s = {0};
    const struct assoc_conf conf = {0};
    pthread_t               t;
    struct assoc           *a = connect_to(server_start(&s, &t), &conf);
    struct errmsg           e = {0};
    struct cmd              c;
    uint8_t                 ctx;
    assert_int_equal(msg_poll(a, &c, &ctx, &e), ERR_MORE);
    assert_string_equal(e.text, "");
    assoc_free(a);
    server_join(&s, t);
    assert_int_equal(s.rc, ERR_CLOSED);
    assert_string_equal(s.e.text, "aborted by the peer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(association_is_negotiated),
        cmocka_unit_test(data_sets_arrive_whatever_the_pdu_size),
        cmocka_unit_test(unread_data_is_skipped),
        cmocka_unit_test(data_set_over_the_limit_is_drained),
        cmocka_unit_test(polling_finds_nothing_and_freeing_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
