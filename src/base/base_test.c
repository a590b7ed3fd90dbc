#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/cur.h"
#include "base/jsonw.h"
#include "base/num.h"
#include "base/utf8.h"

static void buf_is_sticky(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 5);
    buf_u32be(&b, 1);
    buf_u32be(&b, 2); // over the limit
    buf_u8(&b, 3);    // would fit, but the buffer has failed
    struct bytes v;
    assert_int_equal(buf_end(&b, &v), ERR_LIMIT);
    assert_int_equal(b.len, 4);
}

static void arena_has_a_cap(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 16);
    uint32_t *p = arena_array(&a, 1000, uint32_t);
    assert_non_null(p);
    assert_int_equal(p[999], 0);
    assert_null(arena_array(&a, SIZE_MAX / 2, uint32_t));
    assert_null(arena_array(&a, 60000, uint32_t));
    assert_string_equal(arena_str(&a, STR("abc")).ptr, "abc");
}

static void cursor_stops_at_the_first_failure(void **state)
{
    (void)state;
    const uint8_t raw[] = {1, 2, 3, 4, 5, 6};
    struct cur    c = cur_of((struct bytes){raw, sizeof(raw)});
    assert_int_equal(cur_u16le(&c), 0x0201);
    struct cur sub = cur_sub(&c, 3);
    assert_int_equal(cur_u16be(&sub), 0x0304);
    assert_int_equal(cur_end(&sub), ERR_SYNTAX); // one byte left over
    assert_int_equal(cur_u32le(&c), 0);          // only one byte left
    assert_int_equal(cur_u8(&c), 0);
    assert_int_equal(c.err, ERR_SYNTAX);
}

static void numbers_refuse_what_does_not_fit(void **state)
{
    (void)state;
    uint32_t u = 7;
    int64_t  i = 0;
    double   d = 0;
    assert_true(parse_u32(STR("4294967295"), &u));
    assert_false(parse_u32(STR("4294967296"), &u));
    assert_false(parse_u32(STR(""), &u));
    assert_false(parse_u32(STR("+1"), &u));
    assert_int_equal(u, 4294967295U);
    assert_true(parse_i64(STR("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_false(parse_i64(STR("9223372036854775808"), &i));
    assert_true(parse_double(STR("-1.5e3"), &d) && d == -1500.0);
    assert_false(parse_double(STR("nan"), &d));
    assert_false(parse_double(STR("1x"), &d));
}

static void utf8_takes_only_the_shortest_form(void **state)
{
    (void)state;

    static const struct {
        const char *what;
        const char *in;
        bool        good;
    } cases[] = {
        {"ascii", "abc", true},
        {"accent", "\xC3\xA9", true},
        {"overlong", "\xC0\xAF", false},
        {"surrogate", "\xED\xA0\x80", false},
        {"emoji", "\xF0\x9F\x98\x80", true},
        {"cut", "\xE2\x82", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str s;
        if (utf8_check(str_bytes(str_of(cases[i].in)), &s) != cases[i].good) {
            fail_msg("%s", cases[i].what);
        }
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    utf8_clean(&b, str_bytes(STR("a\xFF")));
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.ptr, "a\xEF\xBF\xBD", 4);
}

static void json_is_quoted_and_separated(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_key(&w, STR("a\"b"));
    jsonw_arr(&w);
    jsonw_i64(&w, -1);
    jsonw_str(&w, STR("x\n"));
    jsonw_obj(&w);
    jsonw_obj_end(&w);
    jsonw_double(&w, 0.1);
    jsonw_arr_end(&w);
    jsonw_key(&w, STR("c"));
    jsonw_null(&w);
    jsonw_obj_end(&w);
    buf_u8(&b, 0);
    assert_string_equal((const char *)b.ptr, "{\"a\\\"b\":[-1,\"x\\u000a\",{},0.1],\"c\":null}");
}

static void deadlines_pass(void **state)
{
    (void)state;
    assert_int_equal(deadline_poll_ms(DEADLINE_NEVER), -1);
    assert_true(is_deadline_past(deadline_in_ms(-1)));
    assert_false(is_deadline_past(deadline_in_ms(100000)));
    char t[CLOCK_TEXT];
    clock_text(1, t);
    assert_string_equal(t, "1970-01-01T00:00:00.000001Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_is_sticky),
        cmocka_unit_test(arena_has_a_cap),
        cmocka_unit_test(cursor_stops_at_the_first_failure),
        cmocka_unit_test(numbers_refuse_what_does_not_fit),
        cmocka_unit_test(utf8_takes_only_the_shortest_form),
        cmocka_unit_test(json_is_quoted_and_separated),
        cmocka_unit_test(deadlines_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
