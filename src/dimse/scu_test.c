/* The client against scripted servers, and against DCMTK's dcmqrscp where it is installed. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dimse/scu.h"
#include "dimse/test_support.h"
#include "sys/file.h"

#define FIND "1.2.840.10008.5.1.4.1.2.2.1"
#define MOVE "1.2.840.10008.5.1.4.1.2.2.2"
#define GET  "1.2.840.10008.5.1.4.1.2.2.3"
#define JPEG "1.2.840.10008.1.2.4.70"

extern char **environ;

/* ---- plans */

static void plan_gives_each_syntax_its_context(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 20);
    struct scu_plan p;
    plan_init(&p, &mem);
    assert_int_equal(plan_add_object(&p, STR(CT), STR(JPEG), NULL), ERR_OK);
    assert_int_equal(p.n, 1); // pixels in fragments are not converted here
    assert_int_equal(plan_add_object(&p, STR(CT), STR(IMPLICIT), NULL), ERR_OK);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.ctx[2].n_syntaxes, 2);
    assert_int_equal(plan_add_object(&p, STR(CT), STR(IMPLICIT), NULL), ERR_OK);
    assert_int_equal(plan_add_object(&p, STR(CT), STR(EXPLICIT), NULL), ERR_OK);
    assert_int_equal(p.n, 4);
    assert_false(p.ctx[0].has_role);
}

static void plan_is_full_at_128(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 20);
    struct scu_plan  p;
    const struct str syntax = STR(EXPLICIT);
    plan_init(&p, &mem);
    enum err rc = ERR_OK;
    for (int i = 0; rc == ERR_OK; i++) {
        char uid[16];
        (void)snprintf(uid, sizeof(uid), "1.2.%d", i);
        struct errmsg e = {0};
        rc = plan_add_object(&p, str_of(uid), syntax, &e);
        assert_int_equal(rc, i < 64 ? ERR_OK : ERR_LIMIT);
    }
    assert_int_equal(p.n, 128);
    plan_init(&p, &mem);
    assert_int_equal(plan_add_service(&p, STR(GET), NULL), ERR_OK);
    assert_int_equal(plan_add_all_incoming(&p, &syntax, 1, NULL), ERR_OK);
    assert_in_range(p.n, 90, 128);
    for (size_t i = 1; i < p.n; i++) {
        const struct uid_entry *u = uid_find(p.ctx[i].abstract);
        if (u == NULL || u->kind != UID_STORAGE) {
            fail_msg("%.*s is no storage class", STR_ARG(p.ctx[i].abstract));
        }
    }
    assert_true(p.ctx[1].has_role && p.ctx[1].scp_role && !p.ctx[1].scu_role);
    assert_false(p.ctx[0].has_role);
}

/* ---- operations */

static void responses_are_told_apart(void **state)
{
    (void)state;

    static const struct {
        const char  *what;
        struct cmd   in;
        enum op_what want;
        uint16_t     field;
        uint8_t      context;
    } cases[] = {
        {"pending",
         {.field = C_FIND_RSP, .responded_id = 7, .status = 0xFF00},
         OP_PENDING,
         C_FIND_RQ,
         1},
        {"keys",
         {.field = C_FIND_RSP, .responded_id = 7, .status = 0xFF01},
         OP_PENDING,
         C_FIND_RQ,
         1},
        {"end", {.field = C_FIND_RSP, .responded_id = 7}, OP_FINAL, C_FIND_RQ, 1},
        {"failure",
         {.field = C_MOVE_RSP, .responded_id = 7, .status = 0xA702},
         OP_FINAL,
         C_MOVE_RQ,
         1},
        {"another id", {.field = C_FIND_RSP, .responded_id = 8}, OP_STRAY, C_FIND_RQ, 1},
        {"another context", {.field = C_FIND_RSP, .responded_id = 7}, OP_STRAY, C_FIND_RQ, 3},
        {"another service", {.field = C_MOVE_RSP, .responded_id = 7}, OP_STRAY, C_FIND_RQ, 1},
        {"request",
         {.field = C_STORE_RQ, .message_id = 1, .has_data = true},
         OP_STRAY,
         C_MOVE_RQ,
         3},
        {"object", {.field = C_STORE_RQ, .message_id = 1, .has_data = true}, OP_STORE, C_GET_RQ, 3},
        {"object without data", {.field = C_STORE_RQ, .message_id = 1}, OP_STRAY, C_GET_RQ, 3},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scu_op op = {.context = 1, .field = cases[i].field, .id = 7};
        enum op_what  got = op_take(&op, &cases[i].in, cases[i].context);
        if (got != cases[i].want || op.done != (got == OP_FINAL)) {
            fail_msg("%s: %d", cases[i].what, (int)got);
        }
    }
}

static void statuses_have_words(void **state)
{
    (void)state;
    assert_string_equal(status_text(C_STORE_RQ, 0xA700), "out of resources");
    assert_string_equal(status_text(C_MOVE_RQ, 0xA702),
                        "out of resources: cannot perform sub-operations");
    assert_string_equal(status_text(C_MOVE_RQ, 0xA801), "move destination unknown");
    assert_string_equal(status_text(C_STORE_RQ, 0xC123), "cannot understand");
    assert_string_equal(status_text(C_STORE_RQ, 0x7777), "unknown status");
    assert_true(is_warning(0xB000) && !is_warning(0xA700) && !is_warning(0));
}

/* ---- a scripted server */

struct script {
    int           listen_fd;
    uint16_t      port;
    unsigned      stored;
    struct buf    kept; // last data set stored
    char          syntax[65];
    uint16_t      statuses; // answers to the sub-operations of C-GET, or-ed
    bool          confused; // answers another message
    bool          cancelled;
    enum err      rc;
    struct errmsg e;
    pthread_t     thread;
    struct str    only; // accept this syntax alone; empty: the first proposed
};

static enum ctx_result script_choose(void *arg, struct assoc_ctx *c, size_t *ret_syntax)
{
    const struct script *s = arg;
    *ret_syntax = 0;
    for (size_t i = 0; i < c->n_syntaxes; i++) {
        if (s->only.len == 0 || str_eq(s->only, c->syntaxes[i])) {
            *ret_syntax = i;
            return CTX_ACCEPTED;
        }
    }
    return CTX_NO_SYNTAX;
}

/* An identifier in the syntax of the context: one Study Instance UID. */
static struct bytes identifier(struct assoc *a, uint8_t ctx, struct buf *out, struct arena *mem)
{
    struct dset *d = dset_new(mem);
    assert_non_null(d);
    assert_int_equal(dset_put_str(d, TAG(0x0020, 0x000D), STR("1.2.3")), ERR_OK);
    assert_int_equal(dset_write(d, syntax_find(assoc_ctx(a, ctx)->syntaxes[0]), false, out, NULL),
                     ERR_OK);
    return (struct bytes){out->ptr, out->len};
}

static enum err answer_find(struct script *s, struct assoc *a, uint8_t ctx, struct cmd rsp)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, 1 << 20);
    buf_init(&out, 1 << 16);
    struct bytes b = identifier(a, ctx, &out, &mem);
    enum err     rc = ERR_OK;
    rsp.status = 0xFF00;
    for (int i = 0; rc == ERR_OK && i < 3; i++) {
        rc = msg_send(a, ctx, &rsp, &b, &s->e);
    }
    struct cmd c;
    uint8_t    from = 0;
    rsp.status = 0;
    if (s->cancelled && rc == ERR_OK) { // told to wait for one
        rc = msg_recv(a, &c, &from, &s->e);
        s->cancelled = rc == ERR_OK && c.field == C_CANCEL_RQ && c.responded_id == rsp.responded_id;
        rsp.status = 0xFE00;
    }
    return rc == ERR_OK ? msg_send(a, ctx, &rsp, NULL, &s->e) : rc;
}

static enum err answer_get(struct script *s, struct assoc *a, uint8_t ctx, struct cmd rsp)
{
    static const uint8_t    data[300001] = {1};
    const struct bytes      b = {data, 300000};
    const struct assoc_ctx *ct = assoc_ctx_for(a, STR(CT), STR(""));
    assert_true(ct != NULL && ct->has_role && ct->scp_role);
    enum err rc = ERR_OK;
    for (uint16_t i = 1; rc == ERR_OK && i < 4; i++) {
        const struct cmd rq = {
            .field = C_STORE_RQ, .message_id = i, .class_uid = STR(CT), .sop_uid = STR("1.2.3.4")};
        struct cmd c;
        uint8_t    from;
        rc = msg_send(a, ct->id, &rq, &b, &s->e);
        rc = rc == ERR_OK ? msg_recv(a, &c, &from, &s->e) : rc;
        s->statuses |= rc == ERR_OK ? c.status : 0;
        struct cmd pending = rsp;
        pending.status = 0xFF00;
        rc = rc == ERR_OK ? msg_send(a, ctx, &pending, NULL, &s->e) : rc;
    }
    rsp.status = 0xB000;
    rsp.has_counts = true;
    rsp.completed = 2;
    rsp.failed = 1;
    return rc == ERR_OK ? msg_send(a, ctx, &rsp, NULL, &s->e) : rc;
}

static enum err answer_move(struct script *s, struct assoc *a, uint8_t ctx, struct cmd rsp)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, 1 << 20);
    buf_init(&out, 1 << 16);
    struct bytes b = identifier(a, ctx, &out, &mem);
    rsp.status = 0xFF00;
    rsp.has_counts = rsp.has_remaining = true;
    rsp.remaining = 1;
    enum err rc = msg_send(a, ctx, &rsp, NULL, &s->e);
    rsp.status = 0xA702;
    rsp.has_remaining = false;
    rsp.remaining = 0;
    rsp.failed = 2;
    rsp.comment = STR("no luck");
    return rc == ERR_OK ? msg_send(a, ctx, &rsp, &b, &s->e) : rc;
}

static enum err answer(struct script *s, struct assoc *a, uint8_t ctx, const struct cmd *c)
{
    struct cmd rsp = {.field = (uint16_t)(c->field | 0x8000), .responded_id = c->message_id};
    buf_clear(&s->kept);
    enum err rc = c->has_data ? msg_data_all(a, &s->kept, &s->e) : ERR_OK;
    if (rc != ERR_OK) {
        return rc;
    }
    switch (c->field) {
    case C_FIND_RQ: return answer_find(s, a, ctx, rsp);
    case C_GET_RQ: return answer_get(s, a, ctx, rsp);
    case C_MOVE_RQ: return answer_move(s, a, ctx, rsp);
    default: break;
    }
    s->stored += c->field == C_STORE_RQ;
    (void)snprintf(s->syntax, sizeof(s->syntax), "%.*s", STR_ARG(assoc_ctx(a, ctx)->syntaxes[0]));
    rsp.responded_id = (uint16_t)(rsp.responded_id + (s->confused ? 1 : 0));
    return msg_send(a, ctx, &rsp, NULL, &s->e);
}

static void *script_main(void *arg)
{
    struct script          *s = arg;
    const struct assoc_conf conf = {0};
    struct sock            *sock = NULL;
    struct assoc           *a = NULL;
    s->rc = sock_accept(s->listen_fd, deadline_in_ms(20000), &sock, &s->e);
    s->rc = s->rc == ERR_OK ? assoc_wait(sock, &conf, &a, &s->e) : s->rc;
    s->rc = s->rc == ERR_OK ? assoc_accept(a, script_choose, s, NULL, 0, &s->e) : s->rc;
    while (s->rc == ERR_OK) {
        struct cmd c;
        uint8_t    ctx = 0;
        s->rc = msg_recv(a, &c, &ctx, &s->e);
        s->rc = s->rc == ERR_OK ? answer(s, a, ctx, &c) : s->rc;
    }
    assoc_free(a);
    return NULL;
}

static void listen_and_serve(struct script *s)
{
    struct errmsg e = {0};
    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &s->listen_fd, &s->port, &e), ERR_OK);
    buf_init(&s->kept, 4 << 20);
    assert_int_equal(pthread_create(&s->thread, NULL, script_main, s), 0);
}

static void end(struct script *s)
{
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->listen_fd);
    buf_done(&s->kept);
}

static struct assoc *open_to(uint16_t port, const char *called, const struct scu_plan *plan)
{
    const struct scu_peer p = {.host = STR("127.0.0.1"),
                               .port = port,
                               .called = str_of(called),
                               .calling = STR("SCUTEST")};
    struct assoc         *a = NULL;
    struct errmsg         e = {0};
    if (scu_connect(&p, plan, &a, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return a;
}

static void close_it(struct assoc *a)
{
    struct errmsg e = {0};
    if (assoc_release(a, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assoc_free(a);
}

/* ---- C-STORE */

static void store_ways(struct script *s, struct str only, bool same)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, 4 << 20);
    buf_init(&out, 4 << 20);
    struct bytes    b = make_object(&mem, &out, STR("1.2.3.4"), 600000);
    struct scu_plan plan;
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_object(&plan, STR(CT), STR(EXPLICIT), NULL), ERR_OK);
    *s = (struct script){.only = only};
    listen_and_serve(s);
    struct assoc     *a = open_to(s->port, "ANY", &plan);
    int               fd = temp_file(b);
    struct scu_object o = {.class_uid = STR(CT),
                           .sop_uid = STR("1.2.3.4"),
                           .syntax_uid = STR(EXPLICIT),
                           .src = dsrc_of_bytes(&b),
                           .fd = -1,
                           .fd_len = b.len};
    for (int i = 0; i < 2; i++) {
        uint16_t      status = 1;
        struct errmsg e = {0};
        o.fd = i == 0 ? -1 : fd;
        if (scu_store(a, &o, &status, &e) != ERR_OK) {
            fail_msg("%s", e.text);
        }
        assert_int_equal(status, 0);
        if (same) {
            assert_int_equal(s->kept.len, b.len);
            assert_memory_equal(s->kept.ptr, b.ptr, b.len);
        } else {
            assert_in_range(s->kept.len, 600000, b.len - 1); // implicit is shorter
        }
    }
    close_it(a);
    (void)close(fd);
    end(s);
    assert_int_equal(s->stored, 2);
}

static void objects_are_sent_as_they_are_or_converted(void **state)
{
    (void)state;
    struct script s;
    store_ways(&s, STR(""), true);
    assert_string_equal(s.syntax, EXPLICIT);
    store_ways(&s, STR(IMPLICIT), false);
    assert_string_equal(s.syntax, IMPLICIT);
}

static enum err broken_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                            struct errmsg *e)
{
    const uint64_t *good = ctx;
    memset(to, 0, n);
    *ret_n = n;
    return at < *good ? ERR_OK : err_set(e, ERR_IO, "disk is broken");
}

static void a_broken_source_costs_as_little_as_it_can(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 20);
    struct scu_plan plan;
    struct script   s = {0};
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_object(&plan, STR(CT), STR(EXPLICIT), NULL), ERR_OK);
    assert_int_equal(plan_add_service(&plan, STR(VERIFICATION), NULL), ERR_OK);
    listen_and_serve(&s);
    struct assoc     *a = open_to(s.port, "ANY", &plan);
    uint64_t          good = 1;
    uint16_t          status = 1;
    struct scu_object o = {.class_uid = STR(CT),
                           .sop_uid = STR("1.2.3.4"),
                           .syntax_uid = STR(EXPLICIT),
                           .src = {broken_read, &good, 1 << 20},
                           .fd = -1};
    struct errmsg     e = {0};
    assert_int_equal(scu_store(a, &o, &status, &e), ERR_IO);
    assert_true(is_associated(a)); // nothing had gone out
    e = (struct errmsg){0};
    assert_int_equal(scu_echo(a, &status, &e), ERR_OK);
    good = 500000;
    assert_int_equal(scu_store(a, &o, &status, &e), ERR_IO);
    assert_false(is_associated(a)); // half of it had
    o.syntax_uid = STR(JPEG);
    e = (struct errmsg){0};
    assert_int_equal(scu_store(a, &o, &status, &e), ERR_UNSUPPORTED);
    assoc_free(a);
    end(&s);
    assert_int_equal(s.rc, ERR_CLOSED);
    assert_string_equal(s.e.text, "aborted by the peer");
}

/* ---- queries */

static struct dset *study_keys(struct arena *mem)
{
    struct dset *d = dset_new(mem);
    assert_non_null(d);
    assert_int_equal(dset_put_str(d, TAG(0x0008, 0x0052), STR("STUDY")), ERR_OK);
    assert_int_equal(dset_put_str(d, TAG(0x0020, 0x000D), STR("1.2.3")), ERR_OK);
    return d;
}

static unsigned count_answers(struct scu_op *op, struct arena *mem)
{
    unsigned n = 0;
    for (;;) {
        struct dset  *d = NULL;
        struct errmsg e = {0};
        enum err      rc = scu_next(op, mem, &d, &e);
        if (rc == ERR_NOTFOUND) {
            assert_string_equal(e.text, "");
            return n;
        }
        if (rc != ERR_OK) {
            fail_msg("%s", e.text);
        }
        assert_non_null(d);
        assert_true(str_eq(dset_str(d, TAG(0x0020, 0x000D)), STR("1.2.3")));
        n++;
    }
}

static void answers_of_a_query_come_one_by_one(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 4 << 20);
    struct scu_plan plan;
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_service(&plan, STR(FIND), NULL), ERR_OK);
    for (int i = 0; i < 2; i++) {
        struct script s = {.cancelled = i == 1, .only = STR(IMPLICIT)};
        listen_and_serve(&s);
        struct assoc *a = open_to(s.port, "ANY", &plan);
        struct scu_op op;
        struct errmsg e = {0};
        assert_int_equal(scu_find(a, STR(FIND), study_keys(&mem), &op, &e), ERR_OK);
        if (i == 1) {
            assert_int_equal(scu_cancel(&op, &e), ERR_OK);
        }
        assert_int_equal(count_answers(&op, &mem), 3);
        assert_int_equal(op.status, i == 0 ? 0 : 0xFE00);
        struct dset *d;
        assert_int_equal(scu_next(&op, &mem, &d, &e), ERR_NOTFOUND); // and again
        assert_int_equal(scu_find(a, STR(MOVE), study_keys(&mem), &op, &e), ERR_UNSUPPORTED);
        close_it(a);
        end(&s);
        assert_int_equal(s.cancelled, i == 1);
    }
}

static void a_retrieval_hands_objects_out(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 4 << 20);
    struct scu_plan  plan;
    struct script    s = {0};
    const struct str syntax = STR(EXPLICIT);
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_service(&plan, STR(GET), NULL), ERR_OK);
    assert_int_equal(plan_add_incoming(&plan, STR(CT), &syntax, 1, NULL), ERR_OK);
    listen_and_serve(&s);
    struct assoc       *a = open_to(s.port, "ANY", &plan);
    struct scu_op       op;
    struct scu_incoming in;
    struct errmsg       e = {0};
    assert_int_equal(scu_get(a, STR(GET), study_keys(&mem), &op, &e), ERR_OK);
    unsigned n = 0;
    enum err rc;
    while ((rc = scu_incoming(&op, &in, &e)) == ERR_OK) {
        assert_true(str_eq(in.class_uid, STR(CT)) && str_eq(in.sop_uid, STR("1.2.3.4")));
        assert_true(str_eq(in.syntax_uid, STR(EXPLICIT)));
        struct buf kept;
        buf_init(&kept, 1 << 20);
        if (n < 2) { // the third is neither read nor answered: that is said for us
            assert_int_equal(msg_data_all(a, &kept, &e), ERR_OK);
            assert_int_equal(kept.len, 300000);
            assert_int_equal(scu_answer(&op, 0, &e), ERR_OK);
        }
        buf_done(&kept);
        n++;
    }
    assert_int_equal(rc, ERR_NOTFOUND);
    assert_int_equal(n, 3);
    assert_int_equal(op.status, 0xB000);
    assert_int_equal(op.completed, 2);
    assert_int_equal(op.failed, 1);
    close_it(a);
    end(&s);
    assert_int_equal(s.statuses, 0xC000);
}

static void a_move_tells_its_progress(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 4 << 20);
    struct scu_plan plan;
    struct script   s = {0};
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_service(&plan, STR(MOVE), NULL), ERR_OK);
    listen_and_serve(&s);
    struct assoc *a = open_to(s.port, "ANY", &plan);
    struct scu_op op;
    struct dset  *d = NULL;
    struct errmsg e = {0};
    assert_int_equal(scu_move(a, STR(MOVE), study_keys(&mem), STR("DEST"), &op, &e), ERR_OK);
    assert_int_equal(scu_next(&op, &mem, &d, &e), ERR_OK);
    assert_null(d);
    assert_int_equal(op.remaining, 1);
    assert_int_equal(scu_next(&op, &mem, &d, &e), ERR_NOTFOUND);
    assert_non_null(d); // of the final response
    assert_int_equal(op.status, 0xA702);
    assert_int_equal(op.failed, 2);
    assert_string_equal(op.comment, "no luck");
    close_it(a);
    end(&s);
}

static void a_confused_server_is_left(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 20);
    struct scu_plan plan;
    struct script   s = {.confused = true};
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_service(&plan, STR(VERIFICATION), NULL), ERR_OK);
    listen_and_serve(&s);
    struct assoc *a = open_to(s.port, "ANY", &plan);
    uint16_t      status = 0;
    struct errmsg e = {0};
    assert_int_equal(scu_echo(a, &status, &e), ERR_SYNTAX);
    assert_false(is_associated(a));
    assoc_free(a);
    end(&s);
}

static void nothing_accepted_is_an_error(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 20);
    struct scu_plan plan;
    struct script   s = {.only = STR("1.9")};
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_service(&plan, STR(VERIFICATION), NULL), ERR_OK);
    listen_and_serve(&s);
    const struct scu_peer p = {.host = STR("127.0.0.1"), .port = s.port};
    struct assoc         *a = NULL;
    struct errmsg         e = {0};
    assert_int_equal(scu_connect(&p, &plan, &a, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "transfer syntaxes not supported"));
    end(&s);
    assert_string_equal(s.e.text, ""); // we released in order
}

/* ---- DCMTK's archive: stored, found, got and moved */

struct qr {
    pid_t    pid;
    uint16_t port;
    char     dir[64];
};

static uint16_t free_port(void)
{
    struct errmsg e = {0};
    int           fd = -1;
    uint16_t      port = 0;
    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &fd, &port, &e), ERR_OK);
    (void)close(fd);
    return port;
}

static bool qr_start(struct qr *q, uint16_t dest_port)
{
    char                         path[96];
    CLEANUP(buf_done) struct buf conf;
    buf_init(&conf, 4096);
    (void)snprintf(q->dir, sizeof(q->dir), "/tmp/garonne-qr-XXXXXX");
    assert_non_null(mkdtemp(q->dir));
    q->port = free_port();
    buf_fmt(&conf,
            "NetworkTCPPort = %u\nMaxPDUSize = 16384\nMaxAssociations = 4\n"
            "HostTable BEGIN\ndest = (DEST, 127.0.0.1, %u)\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            "AETable BEGIN\nQRSCP %s RW (10, 100mb) ANY\nAETable END\n",
            q->port, dest_port, q->dir);
    (void)snprintf(path, sizeof(path), "%s/qr.cfg", q->dir);
    struct errmsg e = {0};
    assert_int_equal(file_commit(path, (struct bytes){conf.ptr, conf.len}, 0600, &e), ERR_OK);
    const char *const argv[] = {"dcmqrscp", "-c", path, "--log-level", "fatal", NULL};
    if (posix_spawnp(&q->pid, argv[0], NULL, NULL, (char *const *)argv, environ) != 0) {
        return false;
    }
    for (int i = 0; i < 200; i++) {
        struct sock *s = NULL;
        if (sock_connect(STR("127.0.0.1"), q->port, deadline_in_ms(1000), &s, NULL) == ERR_OK) {
            sock_free(s);
            return true;
        }
        (void)usleep(20000);
    }
    return false;
}

static void qr_stop(struct qr *q)
{
    int status;
    assert_int_equal(kill(q->pid, SIGTERM), 0);
    assert_int_equal(waitpid(q->pid, &status, 0), q->pid);
    const char *const argv[] = {"rm", "-rf", q->dir, NULL};
    pid_t             pid;
    assert_int_equal(posix_spawnp(&pid, "rm", NULL, NULL, (char *const *)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void store_three(const struct qr *q, struct arena *mem)
{
    struct scu_plan plan;
    plan_init(&plan, mem);
    assert_int_equal(plan_add_object(&plan, STR(CT), STR(EXPLICIT), NULL), ERR_OK);
    struct assoc *a = open_to(q->port, "QRSCP", &plan);
    for (int i = 0; i < 3; i++) {
        char uid[16];
        (void)snprintf(uid, sizeof(uid), "1.2.3.4.%d", i);
        CLEANUP(buf_done) struct buf out;
        buf_init(&out, 1 << 20);
        struct bytes            b = make_object(mem, &out, str_of(uid), 100000);
        const struct scu_object o = {.class_uid = STR(CT),
                                     .sop_uid = str_of(uid),
                                     .syntax_uid = STR(EXPLICIT),
                                     .src = dsrc_of_bytes(&b),
                                     .fd = -1};
        uint16_t                status = 1;
        struct errmsg           e = {0};
        if (scu_store(a, &o, &status, &e) != ERR_OK || status != 0) {
            fail_msg("%04x %s", status, e.text);
        }
    }
    close_it(a);
}

static void get_three(const struct qr *q, struct arena *mem)
{
    const struct str syntax = STR(EXPLICIT);
    struct scu_plan  plan;
    plan_init(&plan, mem);
    assert_int_equal(plan_add_service(&plan, STR(GET), NULL), ERR_OK);
    assert_int_equal(plan_add_incoming(&plan, STR(CT), &syntax, 1, NULL), ERR_OK);
    struct assoc       *a = open_to(q->port, "QRSCP", &plan);
    struct scu_op       op;
    struct scu_incoming in;
    struct errmsg       e = {0};
    unsigned            n = 0;
    enum err            rc = scu_get(a, STR(GET), study_keys(mem), &op, &e);
    while (rc == ERR_OK && (rc = scu_incoming(&op, &in, &e)) == ERR_OK) {
        CLEANUP(buf_done) struct buf kept;
        buf_init(&kept, 1 << 20);
        assert_int_equal(msg_data_all(a, &kept, &e), ERR_OK);
        assert_in_range(kept.len, 100000, 101000);
        rc = scu_answer(&op, 0, &e);
        n++;
    }
    if (rc != ERR_NOTFOUND) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(n, 3);
    assert_int_equal(op.status, 0);
    assert_int_equal(op.completed, 3);
    close_it(a);
}

static void dcmtk_archive_stores_finds_gives_and_moves(void **state)
{
    (void)state;
    if (access("/usr/bin/dcmqrscp", X_OK) != 0) {
        (void)puts("skipped: no dcmqrscp");
        skip();
    }
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 8 << 20);
    struct script dest = {0};
    struct qr     q = {0};
    listen_and_serve(&dest);
    assert_true(qr_start(&q, dest.port));
    store_three(&q, &mem);
    struct scu_plan plan;
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_service(&plan, STR(FIND), NULL), ERR_OK);
    assert_int_equal(plan_add_service(&plan, STR(MOVE), NULL), ERR_OK);
    struct assoc *a = open_to(q.port, "QRSCP", &plan);
    struct scu_op op;
    struct errmsg e = {0};
    assert_int_equal(scu_find(a, STR(FIND), study_keys(&mem), &op, &e), ERR_OK);
    assert_int_equal(count_answers(&op, &mem), 1);
    assert_int_equal(op.status, 0);
    get_three(&q, &mem);
    assert_int_equal(scu_move(a, STR(MOVE), study_keys(&mem), STR("DEST"), &op, &e), ERR_OK);
    enum err rc = ERR_OK;
    while (rc == ERR_OK) {
        struct dset *d;
        rc = scu_next(&op, &mem, &d, &e);
    }
    assert_int_equal(rc, ERR_NOTFOUND);
    assert_int_equal(op.status, 0);
    assert_int_equal(op.completed, 3);
    close_it(a);
    end(&dest);
    assert_int_equal(dest.stored, 3);
    qr_stop(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_gives_each_syntax_its_context),
        cmocka_unit_test(plan_is_full_at_128),
        cmocka_unit_test(responses_are_told_apart),
        cmocka_unit_test(statuses_have_words),
        cmocka_unit_test(objects_are_sent_as_they_are_or_converted),
        cmocka_unit_test(a_broken_source_costs_as_little_as_it_can),
        cmocka_unit_test(answers_of_a_query_come_one_by_one),
        cmocka_unit_test(a_retrieval_hands_objects_out),
        cmocka_unit_test(a_move_tells_its_progress),
        cmocka_unit_test(a_confused_server_is_left),
        cmocka_unit_test(nothing_accepted_is_an_error),
        cmocka_unit_test(dcmtk_archive_stores_finds_gives_and_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
