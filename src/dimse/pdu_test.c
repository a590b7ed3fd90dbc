#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dimse/pdu.h"

static const struct {
    const char *what;
    uint8_t     in[16];
    size_t      len;
    enum err    want;
} cuts[] = {
    {"empty", {0}, 0, ERR_MORE},
    {"half a head", {4, 0, 0}, 3, ERR_MORE},
    {"head, no body", {4, 0, 0, 0, 0, 1}, 6, ERR_MORE},
    {"empty body", {4, 0, 0, 0, 0, 0}, 6, ERR_OK},
    {"reserved byte is not tested", {4, 9, 0, 0, 0, 0}, 6, ERR_OK},
    {"largest", {4, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}, 14, ERR_OK},
    {"one over", {4, 0, 0, 0, 0, 9}, 6, ERR_LIMIT},
    {"4 GiB is a limit", {4, 0, 255, 255, 255, 255}, 6, ERR_LIMIT},
};

static void pdu_is_cut_whole_or_not_at_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct pdu p = {0};
        size_t     n = 0;
        enum err   rc = pdu_cut((struct bytes){cuts[i].in, cuts[i].len}, 8, &p, &n, NULL);
        if (rc != cuts[i].want || (rc == ERR_OK && n != cuts[i].len)) {
            fail_msg("%s: %s, %zu bytes", cuts[i].what, err_name(rc), n);
        }
    }
}

static const struct {
    const char *what;
    uint8_t     in[16];
    size_t      len;
    enum err    want;
} pdvs[] = {
    {"no data", {0, 0, 0, 2, 1, 3}, 6, ERR_OK},
    {"one byte", {0, 0, 0, 3, 255, 2, 7}, 7, ERR_OK},
    {"length 1", {0, 0, 0, 1, 1}, 5, ERR_SYNTAX},
    {"length 0", {0, 0, 0, 0}, 4, ERR_SYNTAX},
    {"cut length", {0, 0, 0}, 3, ERR_SYNTAX},
    {"past the PDU", {0, 0, 0, 4, 1, 3, 9}, 7, ERR_SYNTAX},
    {"4 GiB", {255, 255, 255, 255, 1, 3}, 6, ERR_SYNTAX},
    {"even context", {0, 0, 0, 2, 2, 3}, 6, ERR_SYNTAX},
};

static void pdv_stays_in_its_pdu(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pdvs) / sizeof(pdvs[0]); i++) {
        struct cur body = cur_of((struct bytes){pdvs[i].in, pdvs[i].len});
        struct pdv v = {0};
        enum err   rc = pdv_next(&body, &v, NULL);
        if (rc != pdvs[i].want || cur_left(&body) != 0) {
            fail_msg("%s: %s", pdvs[i].what, err_name(rc));
        }
    }
}

static struct assoc_pdu full_request(void)
{
    static struct str syntaxes[] = {STR("1.2.840.10008.1.2.1"), STR("1.2.840.10008.1.2")};

    static struct assoc_ctx ctx[] = {
        {.id = 1, .abstract = STR("1.2.840.10008.1.1"), .syntaxes = syntaxes, .n_syntaxes = 2},
        {.id = 3,
         .abstract = STR("1.2.840.10008.5.1.4.1.1.2"),
         .syntaxes = syntaxes,
         .n_syntaxes = 1,
         .has_role = true,
         .scp_role = true},
        {.id = 5,
         .abstract = STR("1.2.840.10008.5.1.4.1.1.2"),
         .syntaxes = syntaxes + 1,
         .n_syntaxes = 1,
         .has_role = true,
         .scp_role = true},
    };

    static const uint8_t    one[] = {1};
    static struct assoc_ext ext[] = {
        {.class_uid = STR("1.2.840.10008.5.1.4.1.2.2.1"), .info = {one, 1}},
        {.class_uid = STR("1.2.3.4"),
         .common = true,
         .service_uid = STR("1.2.840.10008.4.2"),
         .info = {(const uint8_t *)"\0\003a.b", 5}},
    };

    return (struct assoc_pdu){.version = 1,
                              .called = STR("GARONNE"),
                              .calling = STR("SIXTEEN_LETTERS_"),
                              .application = STR("1.2.840.10008.3.1.1.1"),
                              .ctx = ctx,
                              .n_ctx = 3,
                              .max_pdu = 16384,
                              .impl_uid = STR("1.2.3"),
                              .impl_version = STR("V"),
                              .has_window = true,
                              .invoked = 8,
                              .performed = 1,
                              .ext = ext,
                              .n_ext = 2,
                              .user = {2, true, {one, 1}, {one, 1}}};
}

static void request_comes_back(void **state)
{
    (void)state;
    struct assoc_pdu                 p = full_request(), q = {0};
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, LIMIT_PDU_ASSOC);
    buf_init(&out, LIMIT_PDU_ASSOC);
    assoc_pdu_write(PDU_ASSOC_RQ, &p, &out);
    struct bytes b;
    assert_int_equal(buf_end(&out, &b), ERR_OK);
    struct pdu cut;
    size_t     n;
    assert_int_equal(pdu_cut(b, LIMIT_PDU_ASSOC, &cut, &n, NULL), ERR_OK);
    assert_int_equal(cut.type, PDU_ASSOC_RQ);
    struct errmsg e = {0};
    assert_int_equal(assoc_pdu_parse(PDU_ASSOC_RQ, cut.body, &mem, &q, &e), ERR_OK);
    assert_true(str_eq(q.called, p.called));
    assert_true(str_eq(q.calling, p.calling));
    assert_int_equal(q.n_ctx, 3);
    assert_int_equal(q.ctx[0].n_syntaxes, 2);
    assert_false(q.ctx[0].has_role);
    assert_int_equal(q.n_role, 1); // two contexts share one abstract syntax
    assert_true(q.ctx[1].has_role && !q.ctx[1].scu_role && q.ctx[1].scp_role);
    assert_true(q.ctx[2].has_role && q.ctx[2].scp_role);
    assert_int_equal(q.max_pdu, 16384);
    assert_true(q.has_window);
    assert_int_equal(q.invoked, 8);
    assert_int_equal(q.n_ext, 2);
    assert_true(q.ext[1].common);
    assert_true(str_eq(q.ext[1].service_uid, STR("1.2.840.10008.4.2")));
    assert_int_equal(q.ext[1].info.len, 5);
    assert_int_equal(q.user.type, 2);
    assert_true(q.user.response_wanted);
    assert_int_equal(q.user.secondary.len, 1);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct assoc_pdu             p = full_request();
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_PDU_ASSOC);
    assoc_pdu_write(PDU_ASSOC_RQ, &p, &out);
    /* Without user information, at item boundaries, it is still a request: that is the service's
     * affair. */
    size_t whole = out.len - PDU_HEAD, good = 0;
    for (size_t n = 0; n < whole; n++) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, LIMIT_PDU_ASSOC);
        struct assoc_pdu q;
        struct errmsg    e = {0};
        enum err         rc =
            assoc_pdu_parse(PDU_ASSOC_RQ, (struct bytes){out.ptr + PDU_HEAD, n}, &mem, &q, &e);
        good += rc == ERR_OK;
        assert_true(rc == ERR_OK || (rc == ERR_SYNTAX && e.text[0] != '\0'));
    }
    assert_int_equal(good, 5); // after the head, the application context and each context
}

static void arena_bounds_a_request(void **state)
{
    (void)state;
    struct assoc_pdu             p = full_request();
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_PDU_ASSOC);
    assoc_pdu_write(PDU_ASSOC_RQ, &p, &out);
    bool done = false;
    for (size_t cap = 16; !done; cap += 64) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, cap);
        struct assoc_pdu q;
        enum err         rc = assoc_pdu_parse(
                    PDU_ASSOC_RQ, (struct bytes){out.ptr + PDU_HEAD, out.len - PDU_HEAD}, &mem, &q, NULL);
        assert_true(rc == ERR_LIMIT || rc == ERR_OK);
        done = rc == ERR_OK;
    }
}

static void context_ids_are_odd_and_unique(void **state)
{
    (void)state;
    for (uint8_t id = 1; id < 4; id++) {
        struct assoc_ctx                 ctx[] = {{.id = 1, .abstract = STR("1.2")}, {.id = id}};
        struct assoc_pdu                 p = {.ctx = ctx, .n_ctx = 2}, q;
        CLEANUP(buf_done) struct buf     out;
        CLEANUP(arena_done) struct arena mem;
        buf_init(&out, 4096);
        arena_init(&mem, 1 << 16);
        assoc_pdu_write(PDU_ASSOC_RQ, &p, &out);
        enum err rc = assoc_pdu_parse(
            PDU_ASSOC_RQ, (struct bytes){out.ptr + PDU_HEAD, out.len - PDU_HEAD}, &mem, &q, NULL);
        assert_int_equal(rc, id == 3 ? ERR_OK : ERR_SYNTAX);
    }
}

static void titles_are_trimmed_and_made_text(void **state)
{
    (void)state;
    struct assoc_pdu                 p = {.called = STR(" AB"), .calling = STR("C\xE9")}, q;
    CLEANUP(buf_done) struct buf     out;
    CLEANUP(arena_done) struct arena mem;
    buf_init(&out, 4096);
    arena_init(&mem, 1 << 16);
    assoc_pdu_write(PDU_ASSOC_RQ, &p, &out);
    assert_int_equal(assoc_pdu_parse(PDU_ASSOC_RQ,
                                     (struct bytes){out.ptr + PDU_HEAD, out.len - PDU_HEAD}, &mem,
                                     &q, NULL),
                     ERR_OK);
    assert_true(str_eq(q.called, STR("AB")));
    assert_true(str_eq(q.calling, STR("C?")));
}

static void answer_has_no_abstract_syntax(void **state)
{
    (void)state;
    static const uint8_t body[] = {
        0,    1,   0,   0,   'A', ' ', ' ', ' ', ' ',  ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ',
        ' ',  ' ', ' ', 'B', ' ', ' ', ' ', ' ', ' ',  ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ',
        ' ',  ' ', 0,   0,   0,   0,   0,   0,   0,    0,   0,   0,   0,   0,   0,   0,   0,
        0,    0,   0,   0,   0,   0,   0,   0,   0,    0,   0,   0,   0,   0,   0,   0,   0,
        0x21, 0,   0,   11,  1,   0,   3,   0,   0x30, 0,   0,   3,   '1', '.', '2',
    };
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 16);
    struct assoc_pdu q;
    assert_int_equal(
        assoc_pdu_parse(PDU_ASSOC_AC, (struct bytes){body, sizeof(body)}, &mem, &q, NULL), ERR_OK);
    assert_int_equal(q.n_ctx, 1);
    assert_int_equal(q.ctx[0].result, CTX_NO_ABSTRACT);
    assert_int_equal(q.ctx[0].abstract.len, 0);
}

static void oversized_items_are_not_written(void **state)
{
    (void)state;
    static uint8_t               big[70000];
    struct assoc_pdu             p = {.user = {4, false, {big, sizeof(big)}, {NULL, 0}}};
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_PDU_ASSOC);
    assoc_pdu_write(PDU_ASSOC_RQ, &p, &out);
    struct bytes b;
    assert_int_equal(buf_end(&out, &b), ERR_LIMIT);
}

static void reject_and_abort_come_back_in_words(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 4096);
    pdu_reject_write((struct assoc_rj){1, 1, 7}, &out);
    pdu_abort_write(2, 6, &out);
    struct assoc_rj    rj = {0};
    struct assoc_abort ab = {0};
    assert_int_equal(pdu_reject_parse((struct bytes){out.ptr + PDU_HEAD, 4}, &rj, NULL), ERR_OK);
    assert_string_equal(reject_text(rj), "called AE title not recognized");
    assert_int_equal(pdu_abort_parse((struct bytes){out.ptr + 10 + PDU_HEAD, 4}, &ab, NULL),
                     ERR_OK);
    assert_string_equal(abort_text(ab), "aborted by the peer: invalid PDU parameter value");
    assert_int_equal(pdu_abort_parse((struct bytes){out.ptr, 5}, &ab, NULL), ERR_SYNTAX);
    assert_string_equal(reject_text((struct assoc_rj){1, 9, 9}), "unknown reason");
    assert_string_equal(abort_text((struct assoc_abort){2, 3}),
                        "aborted by the peer, unknown reason");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pdu_is_cut_whole_or_not_at_all),
        cmocka_unit_test(pdv_stays_in_its_pdu),
        cmocka_unit_test(request_comes_back),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(arena_bounds_a_request),
        cmocka_unit_test(context_ids_are_odd_and_unique),
        cmocka_unit_test(titles_are_trimmed_and_made_text),
        cmocka_unit_test(answer_has_no_abstract_syntax),
        cmocka_unit_test(oversized_items_are_not_written),
        cmocka_unit_test(reject_and_abort_come_back_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
