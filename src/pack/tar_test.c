#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "pack/jsonr.h"
#include "pack/tar.h"

static void header_is_read_back(void **state)
{
    (void)state;

    static const struct {
        const char *what;
        uint64_t    size, hash;
        int64_t     mtime;
    } cases[] = {
        {"empty", 0, 1, 0},
        {"small", 526336, 0xFEDCBA9876543210, 1763962746},
        {"last of octal", 077777777777, UINT64_MAX, 1},
        {"first of base 256", 0100000000000, 5, 2},
        {"as large as a file may be", INT64_MAX, 6, 3},
        {"no hash", 7, 0, 4},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tar_member m = {.type = '0',
                               .size = cases[i].size,
                               .hash = cases[i].hash,
                               .mtime = cases[i].mtime},
                          back;
        memset(m.name, '1', 68);
        uint8_t       block[TAR_BLOCK];
        struct errmsg e = {0};
        tar_header_write(&m, block);
        if (tar_header_parse(block, &back, &e) != ERR_OK || back.size != m.size ||
            back.hash != m.hash || back.mtime != m.mtime || back.type != '0' ||
            strcmp(back.name, m.name) != 0) {
            fail_msg("%s: %s", cases[i].what, e.text);
        }
    }
}

static void name_may_fill_its_field(void **state)
{
    (void)state;
    struct tar_member m = {.type = '0'}, back;
    uint8_t           block[TAR_BLOCK];
    memset(m.name, 'a', TAR_NAME);
    tar_header_write(&m, block);
    assert_int_equal(tar_header_parse(block, &back, NULL), ERR_OK);
    assert_string_equal(back.name, m.name);
}

static void any_flipped_byte_is_no_header(void **state)
{
    (void)state;
    struct tar_member m = {.type = '0', .size = 12345, .hash = 42, .name = "1.2.dcm"}, back;
    uint8_t           block[TAR_BLOCK];
    tar_header_write(&m, block);
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        block[i] ^= 0x10;
        enum err rc = tar_header_parse(block, &back, NULL);
        block[i] ^= 0x10;
        if (rc == ERR_OK && i != 155) { // the space after the checksum says nothing
            fail_msg("byte %zu flipped went unseen", i);
        }
    }
}

static void zeros_end_the_archive(void **state)
{
    (void)state;
    static const uint8_t zero[TAR_BLOCK];
    struct tar_member    m;
    assert_int_equal(tar_header_parse(zero, &m, NULL), ERR_NOTFOUND);
}

static void content_is_padded_to_blocks(void **state)
{
    (void)state;
    assert_true(tar_padded(0) == 0);
    assert_true(tar_padded(1) == 512);
    assert_true(tar_padded(512) == 512);
    assert_true(tar_padded(513) == 1024);
    assert_true(tar_padded(UINT64_MAX) >= UINT64_MAX - 511); // stays large
}

static void pax_record_counts_itself(void **state)
{
    (void)state;
    char text[1200];
    memset(text, 'v', sizeof(text));
    for (size_t n = 0; n < sizeof(text); n++) { // crosses 10, 100 and 1000 bytes
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 4096);
        pax_record_write(&b, STR("k"), (struct str){text, n});
        struct bytes in;
        assert_int_equal(buf_end(&b, &in), ERR_OK);
        struct str    key, value;
        struct errmsg e = {0};
        if (pax_record_next(&in, &key, &value, &e) != ERR_OK || in.len != 0 || value.len != n ||
            !str_eq(key, STR("k"))) {
            fail_msg("%zu: %s", n, e.text);
        }
    }
}

static void broken_pax_records_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",        "5",        "4 a=\n",   "7 a=b\n", "6 =b\n ",
        "x a=b\n", "-6 a=b\n", "99 a=b\n", "6 a=bc",  "18446744073709551616 a=b\n",
        "0 a=b\n", "6 abc\n"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes in = str_bytes(str_of(cases[i]));
        struct str   key, value;
        if (pax_record_next(&in, &key, &value, NULL) != ERR_SYNTAX) {
            fail_msg("\"%s\" was taken", cases[i]);
        }
    }
}

static void json_is_read_in_order(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 16);
    struct jsonr r;
    struct str   k;
    jsonr_init(&r,
               str_bytes(STR(" {\"a\" : [1, 2,3], \"b\":\"x\\u00e9\\ud83d\\ude00\\n\",\"c\":{},"
                             "\"d\":[{\"e\":[null,true,-1.5e3]}],\"f\":-7}\n")),
               &a);
    uint64_t sum = 0;
    int64_t  f = 0;
    jsonr_obj(&r);
    while (jsonr_key(&r, &k)) {
        if (str_eq(k, STR("a"))) {
            jsonr_arr(&r);
            while (jsonr_item(&r)) {
                sum = sum * 10 + jsonr_u64(&r);
            }
        } else if (str_eq(k, STR("b"))) {
            assert_true(str_eq(jsonr_str(&r), STR("x\xC3\xA9\xF0\x9F\x98\x80\n")));
        } else if (str_eq(k, STR("f"))) {
            f = jsonr_i64(&r);
        } else {
            jsonr_skip(&r);
        }
    }
    assert_int_equal(jsonr_end(&r), ERR_OK);
    assert_int_equal(sum, 123);
    assert_int_equal(f, -7);
}

static void broken_json_is_refused(void **state)
{
    (void)state;

    static const struct {
        const char *what, *in;
    } cases[] = {
        {"empty", ""},
        {"open object", "{"},
        {"no value", "{\"a\"}"},
        {"comma first", "{,\"a\":1}"},
        {"comma last", "{\"a\":1,}"},
        {"no comma", "[1 2]"},
        {"trailing", "{} x"},
        {"half a pair", "\"\\ud83d\""},
        {"second half alone", "\"\\ude00\""},
        {"NUL", "\"\\u0000\""},
        {"bad escape", "\"\\q\""},
        {"control character", "\"\n\""},
        {"no UTF-8", "\"\xFF\\n\""},
        {"word", "nul"},
        {"wrong bracket", "[}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 12);
        struct jsonr r;
        jsonr_init(&r, str_bytes(str_of(cases[i].in)), &a);
        if (cases[i].in[0] == '"') {
            (void)jsonr_str(&r);
        } else {
            jsonr_skip(&r);
        }
        if (jsonr_end(&r) == ERR_OK) {
            fail_msg("%s was taken", cases[i].what);
        }
    }
    char deep[200];
    memset(deep, '[', sizeof(deep));
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 12);
    struct jsonr r;
    jsonr_init(&r, (struct bytes){(const uint8_t *)deep, sizeof(deep)}, &a);
    jsonr_skip(&r);
    assert_int_equal(jsonr_end(&r), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_is_read_back),
        cmocka_unit_test(name_may_fill_its_field),
        cmocka_unit_test(any_flipped_byte_is_no_header),
        cmocka_unit_test(zeros_end_the_archive),
        cmocka_unit_test(content_is_padded_to_blocks),
        cmocka_unit_test(pax_record_counts_itself),
        cmocka_unit_test(broken_pax_records_are_refused),
        cmocka_unit_test(json_is_read_in_order),
        cmocka_unit_test(broken_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
