#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "dicom/check_priv.h"

#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)"" literal, sizeof(literal) - 1                                           \
    }

static const struct {
    const char          *what;
    const struct syntax *s;
    struct bytes         in;
    enum err             want;
} streams[] = {
    {"nothing", &SYNTAX_EXPLICIT, B(""), ERR_OK},
    {"short, long and empty values", &SYNTAX_EXPLICIT,
     B("\x08\0\x05\0CS\x0A\0ISO_IR 100\x08\0\x50\0SH\0\0\x28\0\x10\0US\2\0\4\0"
       "\xE0\x7F\x10\0OW\0\0\6\0\0\0abcdef"),
     ERR_OK},
    {"implicit, with a sequence", &SYNTAX_IMPLICIT,
     B("\x08\0\x40\x11\x2C\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0\x10\0\x20\0\2\0\0\0ab"
       "\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x10\0\x20\0\2\0\0\0ab\xFE\xFF\x0D\xE0\0\0\0\0"
       "\x28\0\x03\x01\2\0\0\0\1\0\x28\0\x06\x01\2\0\0\0\xFF\xFF"),
     ERR_OK},
    {"big endian numbers", &SYNTAX_BIG,
     B("\0\x28\0\x10US\0\4\0\1\0\2\0\x18\x90\x87"
       "FD\0\x10\1\2\3\4\5\6\7\x08\1\2\3\4\5\6\7\x09\x7F\xE0\0\x10OW\0\0\0\0\0\6"
       "abcdef"),
     ERR_SYNTAX}, // groups go down
    {"big endian, in order", &SYNTAX_BIG,
     B("\0\x18\x90\x87"
       "FD\0\x10\1\2\3\4\5\6\7\x08\1\2\3\4\5\6\7\x09\0\x28\0\x10US\0\4\0\1\0\2\x7F\xE0\0\x10"
       "OW\0\0\0\0\0\6"
       "abcdef"),
     ERR_OK},
    {"fragments", &SYNTAX_EXPLICIT,
     B("\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\4\0\0\0\0\0\0\0"
       "\xFE\xFF\0\xE0\4\0\0\0abcd\xFE\xFF\xDD\xE0\0\0\0\0"),
     ERR_OK},
    {"UN that is a sequence", &SYNTAX_EXPLICIT,
     B("\x09\0\x10\x10UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF"
       "\x10\0\x20\0\2\0\0\0ab\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0"),
     ERR_OK},
    {"cut in a value", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\4\0abc"), ERR_MORE},
    {"cut in a header", &SYNTAX_BIG, B("\0\x10\0\x20LO\0"), ERR_MORE},
    {"cut in a number", &SYNTAX_BIG, B("\x7F\xE0\0\x10OW\0\0\0\0\0\6abc"), ERR_MORE},
};

static void check_windows(size_t i, unsigned lenient)
{
    enum err whole_rc, rc;
    uint64_t whole = sum_tokens(streams[i].in, streams[i].s, lenient, SIZE_MAX, &whole_rc);
    if (lenient == 0 && whole_rc != streams[i].want) {
        fail_msg("%s: %s", streams[i].what, err_name(whole_rc));
    }
    for (size_t step = 1; step <= streams[i].in.len; step++) {
        if (sum_tokens(streams[i].in, streams[i].s, lenient, step, &rc) != whole ||
            rc != whole_rc) {
            fail_msg("%s: windows of %zu bytes differ, lenient %x", streams[i].what, step, lenient);
        }
    }
}

static void windows_of_any_size_give_the_same_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        check_windows(i, 0);
        check_windows(i, LENIENT_ALL);
    }
}

static void no_token_comes_before_its_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        for (size_t n = 0; n < streams[i].in.len; n++) {
            struct dsread   r;
            struct ds_token t;
            enum err        rc;
            dsread_init(&r, streams[i].s, 0, 1000);
            dsread_feed(&r, 1000, (struct bytes){streams[i].in.ptr, n}, false);
            do {
                rc = dsread_next(&r, &t, NULL);
                assert_true(r.pos <= 1000 + n);
            } while (rc == ERR_OK);
            assert_true(rc == ERR_MORE || streams[i].want != ERR_OK);
            assert_true(rc != ERR_MORE || dsread_want(&r) == 1000 + n);
        }
    }
}

static void numbers_come_in_whole_units(void **state)
{
    (void)state;
    static const struct bytes in = B("\0\x18\x90\x87"
                                     "FD\0\x10\1\2\3\4\5\6\7\x08\1\2\3\4\5\6\7\x09");
    struct dsread             r;
    struct ds_token           t;
    unsigned                  pieces = 0;
    dsread_init(&r, &SYNTAX_BIG, 0, 0);
    for (size_t at = 0; at < in.len; at++) {
        dsread_feed(&r, at, (struct bytes){in.ptr + at, 1}, at + 1 == in.len);
        while (dsread_next(&r, &t, NULL) == ERR_OK && t.kind != DS_END) {
            if (t.kind == DS_DATA) {
                assert_int_equal(t.data.len, 8);
                assert_memory_equal(t.data.ptr, in.ptr + 8 + (size_t)pieces * 8, 8);
                pieces++;
            }
        }
    }
    assert_int_equal(pieces, 2);
}

static void skipped_values_are_jumped_over(void **state)
{
    (void)state;
    static const uint8_t head[] = {0xE0, 0x7F, 0x10, 0, 'O', 'W', 0, 0, 0xF0, 0xFF, 0xFF, 0xFF};
    static const uint8_t tail[] = {0xFC, 0xFF, 0xFC, 0xFF, 'O', 'B', 0, 0, 0, 0, 0, 0};
    struct dsread        r;
    struct ds_token      t;
    uint64_t             far = sizeof(head) + 0xFFFFFFF0U;
    dsread_init(&r, &SYNTAX_EXPLICIT, 0, 0);
    dsread_feed(&r, 0, (struct bytes){head, sizeof(head)}, false);
    assert_int_equal(dsread_next(&r, &t, NULL), ERR_OK);
    dsread_skip(&r);
    assert_int_equal(dsread_next(&r, &t, NULL), ERR_MORE);
    assert_int_equal(dsread_want(&r), far);
    dsread_feed(&r, far, (struct bytes){tail, sizeof(tail)}, true);
    assert_int_equal(dsread_next(&r, &t, NULL), ERR_OK);
    assert_int_equal(t.tag, 0xFFFCFFFC);
    assert_int_equal(t.at, far);
    assert_int_equal(dsread_next(&r, &t, NULL), ERR_OK);
    assert_int_equal(t.kind, DS_END);
    assert_int_equal(dsread_next(&r, &t, NULL), ERR_OK);
    assert_int_equal(t.kind, DS_END);
}

static void windows_may_overlap(void **state)
{
    (void)state;
    static const struct bytes in = B("\x10\0\x20\0LO\4\0abcd\x28\0\x10\0US\2\0\4\0");
    struct dsread             r;
    struct ds_token           t;
    unsigned                  kinds[DS__COUNT] = {0};
    dsread_init(&r, &SYNTAX_EXPLICIT, 0, 0);
    for (size_t n = 1; n <= in.len; n++) {
        dsread_feed(&r, 0, (struct bytes){in.ptr, n}, n == in.len); // all from the start again
        while (dsread_next(&r, &t, NULL) == ERR_OK) {
            kinds[t.kind]++;
            if (t.kind == DS_END) {
                break;
            }
        }
    }
    assert_int_equal(kinds[DS_ELEM], 2);
    assert_int_equal(kinds[DS_END], 1);
}

/*
 * An object of 6 GiB that exists nowhere: two fragments of 3 GiB, then an element.
 */
enum { BIG_HEAD = 12 + 8, BIG_TAIL = 8 + 12 };

static const uint64_t BIG_FRAGMENT = 3ULL << 30;

static uint8_t big_byte(uint64_t at)
{
    static const uint8_t head[BIG_HEAD] = {0xE0, 0x7F, 0x10, 0,    'O', 'B',  0, 0, 0xFF, 0xFF,
                                           0xFF, 0xFF, 0xFE, 0xFF, 0,   0xE0, 0, 0, 0,    0};
    static const uint8_t item[8] = {0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0xC0};
    static const uint8_t tail[BIG_TAIL] = {0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0, 0xFC, 0xFF,
                                           0xFC, 0xFF, 'O',  'B',  0, 0, 0, 0, 0,    0};
    const uint64_t       each = BIG_FRAGMENT + sizeof(item);
    if (at < BIG_HEAD) {
        return head[at];
    }
    at -= BIG_HEAD;
    if (at < 2 * each) {
        return at % each < sizeof(item) ? item[at % each] : (uint8_t)(at * 31);
    }
    return tail[at - 2 * each];
}

static enum err big_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                         struct errmsg *e)
{
    (void)e;
    const uint64_t size = BIG_HEAD + 2 * (BIG_FRAGMENT + 8) + BIG_TAIL;
    uint64_t      *total = ctx;
    n = at >= size ? 0 : size - at < n ? (size_t)(size - at) : n;
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)to)[i] = big_byte(at + i);
    }
    *total += n;
    *ret_n = n;
    return ERR_OK;
}

static void six_gigabytes_are_walked_in_a_few_reads(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 16 << 10);
        uint64_t          total = 0;
        struct dsrc       src = {.read = big_read,
                                 .ctx = &total,
                                 .size =
                               known ? BIG_HEAD + 2 * (BIG_FRAGMENT + 8) + BIG_TAIL : UINT64_MAX};
        struct parse_opts o = {0};
        struct dset      *d;
        assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
        assert_int_equal(d->n, 2);
        assert_true(dset_find(d, 0x7FE00010)->left_out);
        assert_true(dset_find(d, 0xFFFCFFFC)->offset > 6ULL << 30);
        assert_true(total < 1 << 20);
    }
}

static void a_source_that_ends_in_a_jump_is_cut_short(void **state)
{
    (void)state;
    static const struct bytes in = B("\x10\0\x20\0LO\4\0abcd\xE0\x7F\x10\0OW\0\0\0\0\1\0abcdef");
    for (int known = 0; known < 2; known++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 64 << 10);
        struct dsrc       src = dsrc_of_bytes(&in);
        struct parse_opts o = {.max_value = 16};
        struct dset      *d;
        struct errmsg     e = {0};
        src.size = known ? src.size : UINT64_MAX;
        assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &d, &e), ERR_SYNTAX);
        assert_int_equal(e.code, ERR_SYNTAX);
        o.lenient = LENIENT_SHORT_PIXELS;
        assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
        assert_true(dset_find(d, 0x7FE00010)->left_out);
        assert_int_equal(dset_find(d, 0x7FE00010)->len, 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_any_size_give_the_same_tokens),
        cmocka_unit_test(no_token_comes_before_its_bytes),
        cmocka_unit_test(numbers_come_in_whole_units),
        cmocka_unit_test(skipped_values_are_jumped_over),
        cmocka_unit_test(windows_may_overlap),
        cmocka_unit_test(six_gigabytes_are_walked_in_a_few_reads),
        cmocka_unit_test(a_source_that_ends_in_a_jump_is_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
