#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/part10.h"

#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)"" literal, sizeof(literal) - 1                                           \
    }

static const struct part10_meta full = {.class_uid = {"1.2.840.10008.5.1.4.1.1.2", 25},
                                        .sop_uid = {"1.2.3", 5},
                                        .syntax_uid = {"1.2.840.10008.1.2.2", 19},
                                        .source_aet = {"CT1", 3},
                                        .receiving_aet = {"GARONNE", 7}};

static void write_file(struct buf *b, const struct part10_meta *m, struct bytes data)
{
    assert_int_equal(part10_write(m, b, NULL), ERR_OK);
    buf_add(b, data);
    assert_int_equal(b->err, ERR_OK);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    static const struct bytes    data = B("\0\x10\0\x20LO\0\2ab");
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 16);
    write_file(&b, &full, data);
    struct part10_meta m = {0};
    for (size_t n = 0; n <= b.len; n++) {
        enum err rc = part10_parse((struct bytes){b.ptr, n}, &m, NULL);
        assert_int_equal(rc, n < b.len - data.len ? ERR_MORE : ERR_OK);
    }
    assert_true(str_eq(m.class_uid, full.class_uid));
    assert_true(str_eq(m.sop_uid, full.sop_uid));
    assert_true(str_eq(m.syntax_uid, full.syntax_uid));
    assert_true(str_eq(m.source_aet, full.source_aet));
    assert_true(str_eq(m.sending_aet, STR("")));
    assert_true(str_eq(m.receiving_aet, full.receiving_aet));
    assert_int_equal(m.size, b.len - data.len);
    assert_true(m.syntax->big_endian && !m.guessed);
}

static void a_file_is_read_whole(void **state)
{
    (void)state;
    static const struct bytes    data = B("\0\x10\0\x20LO\0\2ab");
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 16);
    write_file(&b, &full, data);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct bytes       file = {b.ptr, b.len};
    struct dsrc        src = dsrc_of_bytes(&file);
    struct parse_opts  o = {0};
    struct part10_meta m;
    struct dset       *d;
    assert_int_equal(part10_read(&src, &o, &a, &m, &d, NULL), ERR_OK);
    assert_true(str_eq(dset_str(d, 0x00100020), STR("ab")));
    assert_int_equal(dset_find(d, 0x00100020)->offset, b.len - 2);
    file.len -= 1;
    src = dsrc_of_bytes(&file);
    struct errmsg e = {0};
    assert_int_equal(part10_read(&src, &o, &a, &m, &d, &e), ERR_SYNTAX);
    file.len = 140;
    src = dsrc_of_bytes(&file);
    e = (struct errmsg){0};
    assert_int_equal(part10_read(&src, &o, &a, &m, &d, &e), ERR_SYNTAX);
    assert_non_null(strstr(e.text, "cut short"));
}

static void a_file_without_data_set_is_empty(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 16);
    write_file(&b, &full, (struct bytes){0});
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct bytes       file = {b.ptr, b.len};
    struct dsrc        src = dsrc_of_bytes(&file);
    struct parse_opts  o = {0};
    struct part10_meta m;
    struct dset       *d;
    assert_int_equal(part10_read(&src, &o, &a, &m, &d, NULL), ERR_OK);
    assert_int_equal(d->n, 0);
}

static void long_meta_information_is_read_on(void **state)
{
    (void)state;
    static uint8_t               secret[50000];
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(part10_write(&full, &b, NULL), ERR_OK);
    static const uint8_t head[12] = {2, 0, 2, 1, 'O', 'B', 0, 0, 0x50, 0xC3, 0, 0};
    buf_add(&b, (struct bytes){head, sizeof(head)});
    buf_add(&b, (struct bytes){secret, sizeof(secret)}); // behind what the group length says
    size_t end = b.len;
    buf_add(&b, (struct bytes)B("\0\x10\0\x20LO\0\2ab"));
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct bytes       file = {b.ptr, b.len};
    struct dsrc        src = dsrc_of_bytes(&file);
    struct parse_opts  o = {0};
    struct part10_meta m;
    struct dset       *d;
    assert_int_equal(part10_read(&src, &o, &a, &m, &d, NULL), ERR_OK);
    assert_int_equal(m.size, end);
    b.ptr[end - sizeof(secret) - 1] = 0x7F; // 2 GB
    assert_int_equal(part10_read(&src, &o, &a, &m, &d, NULL), ERR_LIMIT);
}

static const struct {
    const char          *what;
    struct bytes         in;
    const struct syntax *s; // NULL: refused
} bare[] = {
    {"explicit little endian", B("\x08\0\x05\0CS\x0A\0ISO_IR 100"), &SYNTAX_EXPLICIT},
    {"explicit big endian",
     B("\0\x08\0\x05"
       "CS\0\x0AISO_IR 100"),
     &SYNTAX_BIG},
    {"implicit", B("\x08\0\x05\0\x0A\0\0\0ISO_IR 100"), &SYNTAX_IMPLICIT},
    {"text", B("Lorem ipsum dolor sit amet"), NULL},
    {"zeros", B("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL},
    {"JPEG", B("\xFF\xD8\xFF\xE0\0\x10JFIF\0\1\1\1\0\x48"), NULL},
    {"ZIP", B("PK\3\4\x14\0\0\0\x08\0\0\0\0\0\0\0"), NULL},
    {"implicit, absurd first length", B("\x08\0\x05\0\0\0\0\x40ISO_IR 100"), NULL},
    {"one byte", B("\x08"), NULL},
    {"nothing", B(""), NULL},
};

static void bare_data_sets_are_recognised_and_others_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bare) / sizeof(bare[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, LIMIT_DSET);
        struct dsrc        src = dsrc_of_bytes(&bare[i].in);
        struct parse_opts  o = {0};
        struct part10_meta m;
        struct dset       *d;
        struct errmsg      e = {0};
        enum err           rc = part10_read(&src, &o, &a, &m, &d, &e);
        if (bare[i].s == NULL ? rc != ERR_SYNTAX || e.text[0] == 0
                              : rc != ERR_OK || !m.guessed || m.syntax != bare[i].s) {
            fail_msg("%s: %s %s", bare[i].what, err_name(rc), e.text);
        }
    }
}

/* Meta groups as some write them; %s is what stands between "DICM" and the data set. */
static const struct {
    const char  *what;
    struct bytes meta;
    bool         prefix;
    bool         big;
} odd[] = {
    {"no group length",
     B("\2\0\x10\0UI\x14\0"
       "1.2.840.10008.1.2.2\0"),
     true, true},
    {"no preamble",
     B("\2\0\0\0UL\4\0\x1C\0\0\0\2\0\x10\0UI\x14\0"
       "1.2.840.10008.1.2.2\0"),
     false, true},
    {"wrong group length",
     B("\2\0\0\0UL\4\0\xFF\xFF\0\0\2\0\x10\0UI\x14\0"
       "1.2.840.10008.1.2.2\0"),
     true, true},
    {"implicit VR",
     B("\2\0\x10\0\x14\0\0\0"
       "1.2.840.10008.1.2.2\0"),
     true, true},
    {"no transfer syntax",
     B("\2\0\x02\0UI\4\0"
       "1.2\0"),
     true, true},
    {"padded with a blank",
     B("\2\0\x10\0UI\x14\0"
       "1.2.840.10008.1.2.2 "),
     true, true},
    {"transfer syntax nobody knows",
     B("\2\0\x10\0UI\x04\0"
       "9.9\0"),
     true, false},
};

static void deviant_meta_information_is_understood(void **state)
{
    (void)state;
    static const uint8_t preamble[128];
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 1 << 16);
        if (odd[i].prefix) {
            buf_add(&b, (struct bytes){preamble, sizeof(preamble)});
            buf_str(&b, STR("DICM"));
        }
        buf_add(&b, odd[i].meta);
        if (odd[i].big) {
            buf_add(&b, (struct bytes)B("\0\x10\0\x20LO\0\2ab"));
        } else {
            buf_add(&b, (struct bytes)B("\x10\0\x20\0LO\2\0ab"));
        }
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, LIMIT_DSET);
        struct bytes       file = {b.ptr, b.len};
        struct dsrc        src = dsrc_of_bytes(&file);
        struct parse_opts  o = {0};
        struct part10_meta m;
        struct dset       *d;
        struct errmsg      e = {0};
        enum err           rc = part10_read(&src, &o, &a, &m, &d, &e);
        if (rc != ERR_OK || m.syntax->big_endian != odd[i].big ||
            !str_eq(dset_str(d, 0x00100020), STR("ab"))) {
            fail_msg("%s: %s %s", odd[i].what, err_name(rc), e.text);
        }
    }
}

static void writing_respects_the_buffer(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 200);
    struct errmsg e = {0};
    assert_int_equal(part10_write(&full, &b, &e), ERR_LIMIT);
    assert_int_equal(e.code, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_file_is_read_whole),
        cmocka_unit_test(a_file_without_data_set_is_empty),
        cmocka_unit_test(long_meta_information_is_read_on),
        cmocka_unit_test(bare_data_sets_are_recognised_and_others_refused),
        cmocka_unit_test(deviant_meta_information_is_understood),
        cmocka_unit_test(writing_respects_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
