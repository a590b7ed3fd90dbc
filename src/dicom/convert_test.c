#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "dicom/check_priv.h"
#include "dicom/convert.h"

#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)"" literal, sizeof(literal) - 1                                           \
    }

static const struct syntax *const plain[] = {&SYNTAX_IMPLICIT, &SYNTAX_EXPLICIT, &SYNTAX_BIG,
                                             &SYNTAX_DEFLATED};

enum { N_PLAIN = sizeof(plain) / sizeof(plain[0]) };

static enum err to_buf(void *ctx, struct bytes piece, struct errmsg *e)
{
    struct buf *b = ctx;
    buf_add(b, piece);
    return b->err == ERR_OK ? ERR_OK : err_set(e, b->err, "sink is full");
}

static enum err convert(struct bytes in, const struct syntax *from, const struct syntax *to,
                        struct buf *out, struct errmsg *e)
{
    struct dsrc src = dsrc_of_bytes(&in);
    buf_clear(out);
    return convert_stream(&src, 0, from, to, to_buf, out, e);
}

/* Larger than a window, with values of every unit, odd ones, nested ones. */
static void make(struct arena *a, struct buf *out)
{
    static uint8_t noise[200000];
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (uint8_t)((i * 2654435761U) >> 13);
    }

    static const struct {
        uint32_t tag;
        enum vr  vr;
        size_t   len;
    } values[] = {
        {0x00080005, VR_CS, 0},     {0x00080018, VR_UI, 0},     {0x00080119, VR_UC, 70001},
        {0x00091010, VR_FD, 64},    {0x00189087, VR_FD, 65528}, {0x00280010, VR_US, 2},
        {0x00280103, VR_US, 2},     {0x00280106, VR_SS, 4},     {0x00281201, VR_OW, 100002},
        {0x00660016, VR_OF, 40000}, {0x7FE00010, VR_OW, 199998}};
    struct dset *d = dset_new(a), *item;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_int_equal(
            dset_put(d, values[i].tag, values[i].vr, (struct bytes){noise, values[i].len}), ERR_OK);
    }
    assert_int_equal(dset_put_u16(d, 0x00280103, 1), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dset_put_item(d, 0x00081140, &item), ERR_OK);
        assert_int_equal(dset_put_str(item, 0x00081155, STR("1.2.3")), ERR_OK);
        assert_int_equal(dset_put_item(item, 0x00081140, &item), ERR_OK);
        assert_int_equal(dset_put(item, 0x00281201, VR_OW, (struct bytes){noise, 70000}), ERR_OK);
    }
    assert_int_equal(dset_write(d, &SYNTAX_EXPLICIT, true, out, NULL), ERR_OK);
}

static struct dset *parse(struct arena *a, const struct buf *b, const struct syntax *s)
{
    struct parse_opts o = {0};
    struct dset      *d = NULL;
    struct errmsg     e = {0};
    if (dset_parse((struct bytes){b->ptr, b->len}, s, &o, a, &d, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return d;
}

static void every_pair_converts_there_and_back(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf explicit;
    CLEANUP(buf_done) struct buf from;
    CLEANUP(buf_done) struct buf to;
    CLEANUP(buf_done) struct buf back;
    buf_init(&explicit, 2 << 20);
    buf_init(&from, 2 << 20);
    buf_init(&to, 2 << 20);
    buf_init(&back, 2 << 20);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 64 << 20);
    make(&a, &explicit);
    const struct dset *d = parse(&a, &explicit, &SYNTAX_EXPLICIT);
    for (size_t i = 0; i < (size_t)N_PLAIN * N_PLAIN; i++) {
        const struct syntax *x = plain[i / N_PLAIN], *y = plain[i % N_PLAIN];
        assert_true(is_convertible(x, y));
        struct bytes in = {explicit.ptr, explicit.len};
        assert_int_equal(convert(in, &SYNTAX_EXPLICIT, x, &from, NULL), ERR_OK);
        assert_int_equal(convert((struct bytes){from.ptr, from.len}, x, y, &to, NULL), ERR_OK);
        assert_int_equal(to.len % 2, 0);
        bool whole = x->explicit_vr && y->explicit_vr;
        assert_true(same_dset(d, parse(&a, &to, y), whole));
        assert_int_equal(convert((struct bytes){to.ptr, to.len}, y, x, &back, NULL), ERR_OK);
        assert_true(same_dset(parse(&a, &from, x), parse(&a, &back, x), whole));
        if (whole) { // nothing is lost, so the way back gives the same bytes
            assert_int_equal(
                convert((struct bytes){back.ptr, back.len}, x, &SYNTAX_EXPLICIT, &to, NULL),
                ERR_OK);
            assert_true(bytes_eq(in, (struct bytes){to.ptr, to.len}));
        }
    }
}

static void deviations_are_mended_on_the_way(void **state)
{
    (void)state;

    static const struct {
        struct bytes in, want;
    } cases[] = {
        {B("\x10\0\x20\0LO\3\0abc"), B("\x10\0\x20\0\4\0\0\0abc ")},
        {B("\x08\0\0\0UL\4\0\x0A\0\0\0\x08\0\x16\0UI\2\0\x31\0"), B("\x08\0\x16\0\2\0\0\0\x31\0")},
        {B("\x08\0\x40\x11SQ\0\0\x08\0\0\0\xFE\xFF\0\xE0\0\0\0\0"),
         B("\x08\0\x40\x11\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\xFE\xFF\x0D\xE0\0\0\0\0"
           "\xFE\xFF\xDD\xE0\0\0\0\0")},
        {B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF"),
         B("\x08\0\x40\x11\xFF\xFF\xFF\xFF\xFE\xFF\xDD\xE0\0\0\0\0")},
    };
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(convert(cases[i].in, &SYNTAX_EXPLICIT, &SYNTAX_IMPLICIT, &out, NULL),
                         ERR_OK);
        assert_true(bytes_eq(cases[i].want, (struct bytes){out.ptr, out.len}));
    }
}

static const struct syntax *jpeg(void)
{
    return syntax_find(STR("1.2.840.10008.1.2.4.50"));
}

static void what_cannot_be_converted_is_refused(void **state)
{
    (void)state;
    static const struct bytes    fragments = B("\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0"
                                                  "\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
    static const struct bytes    text = B("\x10\0\x20\0LO\2\0ab");
    static const struct bytes    cut = B("\xE0\x7F\x10\0OW\0\0\x10\0\0\0ab");
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 1 << 20);
    assert_false(is_convertible(jpeg(), &SYNTAX_IMPLICIT));
    assert_false(is_convertible(&SYNTAX_IMPLICIT, jpeg()));
    assert_true(is_convertible(jpeg(), jpeg()));
    assert_int_equal(convert(text, &SYNTAX_IMPLICIT, jpeg(), &out, NULL), ERR_UNSUPPORTED);
    assert_int_equal(convert(fragments, jpeg(), &SYNTAX_EXPLICIT, &out, NULL), ERR_UNSUPPORTED);
    assert_int_equal(convert(fragments, jpeg(), &SYNTAX_BIG, &out, NULL), ERR_UNSUPPORTED);
    assert_int_equal(convert(text, jpeg(), &SYNTAX_IMPLICIT, &out, NULL), ERR_OK); // no pixels
    assert_int_equal(convert(cut, &SYNTAX_EXPLICIT, &SYNTAX_IMPLICIT, &out, NULL), ERR_SYNTAX);
    assert_int_equal(convert(fragments, jpeg(), jpeg(), &out, NULL), ERR_OK);
    assert_true(bytes_eq(fragments, (struct bytes){out.ptr, out.len}));
}

static void a_deflated_stream_that_is_cut_is_noticed(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf explicit;
    CLEANUP(buf_done) struct buf packed;
    CLEANUP(buf_done) struct buf out;
    buf_init(&explicit, 2 << 20);
    buf_init(&packed, 2 << 20);
    buf_init(&out, 2 << 20);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 64 << 20);
    make(&a, &explicit);
    struct bytes in = {explicit.ptr, explicit.len};
    assert_int_equal(convert(in, &SYNTAX_EXPLICIT, &SYNTAX_DEFLATED, &packed, NULL), ERR_OK);
    for (size_t n = 0; n + 2 < packed.len; n += packed.len / 7) {
        struct bytes cut = {packed.ptr, n};
        assert_int_equal(convert(cut, &SYNTAX_DEFLATED, &SYNTAX_EXPLICIT, &out, NULL), ERR_SYNTAX);
        assert_true(n == 0 ||
                    convert(cut, &SYNTAX_DEFLATED, &SYNTAX_IMPLICIT, &out, NULL) == ERR_SYNTAX);
    }
}

static void the_sinks_error_ends_it(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf explicit;
    buf_init(&explicit, 2 << 20);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 64 << 20);
    make(&a, &explicit);
    for (size_t i = 0; i < N_PLAIN; i++) {
        CLEANUP(buf_done) struct buf small;
        struct errmsg                e = {0};
        buf_init(&small, 1000);
        assert_int_equal(convert((struct bytes){explicit.ptr, explicit.len}, &SYNTAX_EXPLICIT,
                                 plain[i], &small, &e),
                         ERR_LIMIT);
        assert_non_null(strstr(e.text, "sink is full"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_converts_there_and_back),
        cmocka_unit_test(deviations_are_mended_on_the_way),
        cmocka_unit_test(what_cannot_be_converted_is_refused),
        cmocka_unit_test(a_deflated_stream_that_is_cut_is_noticed),
        cmocka_unit_test(the_sinks_error_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
