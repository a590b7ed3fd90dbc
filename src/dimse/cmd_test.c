#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dimse/cmd.h"

#define CLASS "1.2.840.10008.5.1.4.1.1.2"

static void store_request_comes_back(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, LIMIT_COMMAND);
    buf_init(&out, LIMIT_COMMAND);
    struct cmd c = {.field = C_STORE_RQ,
                    .message_id = 7,
                    .class_uid = STR(CLASS),
                    .sop_uid = STR("1.2.3"),
                    .priority = 2,
                    .has_data = true,
                    .originator_aet = STR("MOVER"),
                    .originator_id = 9};
    struct cmd d = {0};
    cmd_write(&c, &out);
    struct bytes b;
    assert_int_equal(buf_end(&out, &b), ERR_OK);
    assert_int_equal(b.ptr[8] | b.ptr[9] << 8, b.len - 12); // group length
    assert_int_equal(cmd_parse(b, &mem, &d, NULL), ERR_OK);
    assert_int_equal(d.field, C_STORE_RQ);
    assert_int_equal(d.message_id, 7);
    assert_true(str_eq(d.class_uid, c.class_uid));
    assert_true(str_eq(d.sop_uid, c.sop_uid));
    assert_int_equal(d.priority, 2);
    assert_true(d.has_data);
    assert_false(d.requested);
    assert_false(d.has_counts);
    assert_true(str_eq(d.originator_aet, c.originator_aet));
    assert_int_equal(d.originator_id, 9);
}

static void final_move_response_leaves_remaining_out(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, LIMIT_COMMAND);
    buf_init(&out, LIMIT_COMMAND);
    struct cmd c = {.field = C_MOVE_RSP,
                    .responded_id = 3,
                    .status = 0xB000,
                    .class_uid = STR(CLASS),
                    .comment = STR("2 images of 5 \xC3\xA9t\xC3\xA9"),
                    .has_counts = true,
                    .completed = 3,
                    .failed = 2};
    struct cmd d = {0};
    cmd_write(&c, &out);
    struct bytes b;
    assert_int_equal(buf_end(&out, &b), ERR_OK);
    assert_int_equal(cmd_parse(b, &mem, &d, NULL), ERR_OK);
    assert_int_equal(d.responded_id, 3);
    assert_int_equal(d.status, 0xB000);
    assert_true(d.has_counts);
    assert_false(d.has_remaining);
    assert_int_equal(d.completed, 3);
    assert_int_equal(d.failed, 2);
    assert_true(str_eq(d.comment, STR("2 images of 5 ?t?")));
}

static void comment_is_cut_at_64(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, LIMIT_COMMAND);
    buf_init(&out, LIMIT_COMMAND);
    char text[100];
    memset(text, 'x', sizeof(text));
    text[63] = ' '; // at the cut: trimmed, as a reader would
    struct cmd c = {.field = C_ECHO_RSP, .comment = {text, sizeof(text)}};
    struct cmd d = {0};
    cmd_write(&c, &out);
    struct bytes b;
    assert_int_equal(buf_end(&out, &b), ERR_OK);
    assert_int_equal(cmd_parse(b, &mem, &d, NULL), ERR_OK);
    assert_int_equal(d.comment.len, 63);
}

/* Command field, message id and data set type of a C-ECHO-RQ. */
#define ECHO_RQ                                                                                    \
    0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 8, 2, 0, 0, 0, 1, 1

static const struct {
    const char *what;
    uint8_t     in[64];
    size_t      len;
    enum err    want;
} cases[] = {
    {"shortest", {ECHO_RQ}, 30, ERR_OK},
    {"empty", {0}, 0, ERR_SYNTAX},
    {"cut in the value", {ECHO_RQ}, 29, ERR_SYNTAX},
    {"cut in the head", {ECHO_RQ}, 25, ERR_SYNTAX},
    {"no data set type", {ECHO_RQ}, 20, ERR_SYNTAX},
    {"no message id", {ECHO_RQ}, 10, ERR_SYNTAX},
    {"another group", {ECHO_RQ, 8, 0, 0x16, 0, 0, 0, 0, 0}, 38, ERR_SYNTAX},
    {"unknown element", {ECHO_RQ, 0, 0, 0xFF, 0xFF, 2, 0, 0, 0, 9, 9}, 40, ERR_OK},
    {"length over the end", {ECHO_RQ, 0, 0, 0x01, 0x10, 255, 255, 255, 255}, 38, ERR_SYNTAX},
    {"number of 4 bytes", {ECHO_RQ, 0, 0, 0, 7, 4, 0, 0, 0, 1, 0, 0, 0}, 42, ERR_SYNTAX},
    {"empty priority", {ECHO_RQ, 0, 0, 0, 7, 0, 0, 0, 0}, 38, ERR_OK},
    {"no UTF-8", {ECHO_RQ, 0, 0, 0, 6, 2, 0, 0, 0, 'A', 0xE9}, 40, ERR_OK},
    {"response without status",
     {0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0x80, 0, 0, 0x20, 1, 2,
      0, 0, 0, 1, 0, 0, 0, 0, 8,    2,    0, 0, 0,    1, 1},
     30,
     ERR_SYNTAX},
};

static void refuses_what_is_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, 4096);
        struct cmd    c = {0};
        struct errmsg e = {0};
        enum err      rc = cmd_parse((struct bytes){cases[i].in, cases[i].len}, &mem, &c, &e);
        if (rc != cases[i].want || (rc != ERR_OK && e.text[0] == '\0')) {
            fail_msg("%s: %s %s", cases[i].what, err_name(rc), e.text);
        }
    }
}

static void arena_bounds_it(void **state)
{
    (void)state;
    static const uint8_t             in[] = {ECHO_RQ};
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16);
    struct cmd c = {0};
    assert_int_equal(cmd_parse((struct bytes){in, sizeof(in)}, &mem, &c, NULL), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_request_comes_back),
        cmocka_unit_test(final_move_response_leaves_remaining_out),
        cmocka_unit_test(comment_is_cut_at_64),
        cmocka_unit_test(refuses_what_is_malformed),
        cmocka_unit_test(arena_bounds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
