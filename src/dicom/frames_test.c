#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/frames.h"

#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)"" literal, sizeof(literal) - 1                                           \
    }

enum { N_MAX = 4 };

/* Fragments with their headers, as they lie behind the head of pixel data. */
#define ITEM(len) "\xFE\xFF\0\xE0" len "\0\0\0"
#define END       "\xFE\xFF\xDD\xE0\0\0\0\0"

static const struct encapsulated {
    const char  *what;
    const char  *n; // (0028,0008)
    struct bytes items;
    struct bytes offsets, lengths; // extended offset table
    enum err     want;
    size_t       n_frames;
    uint64_t     offset[N_MAX], len[N_MAX]; // offset from the first item
    uint32_t     fragments[N_MAX];
} encapsulated[] = {
    {"one fragment", "1", B(ITEM("\0") ITEM("\4") "abcd" END), {0}, {0}, ERR_OK, 1, {16}, {4}, {1}},
    {"one frame of two fragments",
     "",
     B(ITEM("\0") ITEM("\4") "abcd" ITEM("\2") "ef" END),
     {0},
     {0},
     ERR_OK,
     1,
     {16},
     {14},
     {2}},
    {"a fragment a frame",
     "2",
     B(ITEM("\0") ITEM("\4") "abcd" ITEM("\2") "ef" END),
     {0},
     {0},
     ERR_OK,
     2,
     {16, 28},
     {4, 2},
     {1, 1}},
    {"basic offset table",
     "2",
     B(ITEM("\x08") "\0\0\0\0\x16\0\0\0" ITEM("\4") "abcd" ITEM("\2") "ef" ITEM("\2") "gh" END),
     {0},
     {0},
     ERR_OK,
     2,
     {24, 46},
     {14, 2},
     {2, 1}},
    {"basic offset table that lies",
     "2",
     B(ITEM("\x08") "\0\0\0\0\x15\0\0\0" ITEM("\4") "abcd" ITEM("\2") "ef" END),
     {0},
     {0},
     ERR_OK,
     2,
     {24, 36},
     {4, 2},
     {1, 1}},
    {"extended offset table",
     "2",
     B(ITEM("\0") ITEM("\4") "abcd" ITEM("\2") "ef" END),
     B("\0\0\0\0\0\0\0\0\x0C\0\0\0\0\0\0\0"),
     B("\4\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"),
     ERR_OK,
     2,
     {16, 28},
     {4, 2},
     {1, 1}},
    {"no table, bit streams begin",
     "2",
     B(ITEM("\0") ITEM("\4") "\xFF\xD8__" ITEM("\2") "ef" ITEM("\4") "\xFF\xD8__" END),
     {0},
     {0},
     ERR_OK,
     2,
     {16, 38},
     {14, 4},
     {2, 1}},
    {"no table, nothing to tell",
     "2",
     B(ITEM("\0") ITEM("\4") "abcd" ITEM("\2") "ef" ITEM("\2") "gh" END),
     {0},
     {0},
     ERR_UNSUPPORTED,
     0,
     {0},
     {0},
     {0}},
    {"a video",
     "250",
     B(ITEM("\0") ITEM("\4") "abcd" END),
     {0},
     {0},
     ERR_UNSUPPORTED,
     0,
     {0},
     {0},
     {0}},
    {"no fragments", "1", B(ITEM("\0") END), {0}, {0}, ERR_SYNTAX, 0, {0}, {0}, {0}},
    {"no frames", "0", B(ITEM("\0") ITEM("\2") "ab" END), {0}, {0}, ERR_SYNTAX, 0, {0}, {0}, {0}},
};

static void write_encapsulated(struct arena *a, struct buf *b, const struct encapsulated *c)
{
    struct dset *d = dset_new(a);
    assert_int_equal(dset_put_str(d, 0x00280008, str_of(c->n)), ERR_OK);
    if (c->offsets.len > 0) {
        assert_int_equal(dset_put(d, 0x7FE00001, VR_OV, c->offsets), ERR_OK);
        assert_int_equal(dset_put(d, 0x7FE00002, VR_OV, c->lengths), ERR_OK);
    }
    assert_int_equal(dset_write(d, &SYNTAX_EXPLICIT, false, b, NULL), ERR_OK);
    buf_add(b, (struct bytes)B("\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF"));
}

static void check_encapsulated(const struct encapsulated *c, uint32_t max_value)
{
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 16);
    write_encapsulated(&a, &b, c);
    size_t base = b.len;
    buf_add(&b, c->items);
    struct bytes      file = {b.ptr, b.len};
    struct dsrc       src = dsrc_of_bytes(&file);
    struct parse_opts o = {.max_value = max_value};
    struct dset      *d;
    struct frames     f = {0};
    struct errmsg     e = {0};
    assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
    enum err rc = frames_find(d, &src, &a, &f, &e);
    if (rc != c->want || f.n != c->n_frames) {
        fail_msg("%s: %s %s, %zu frames", c->what, err_name(rc), e.text, f.n);
    }
    for (size_t i = 0; i < f.n; i++) {
        if (f.v[i].offset != base + c->offset[i] || f.v[i].len != c->len[i] ||
            f.v[i].fragments != c->fragments[i]) {
            fail_msg("%s: frame %zu at %llu", c->what, i, (unsigned long long)f.v[i].offset - base);
        }
    }
}

static void fragments_become_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(encapsulated) / sizeof(encapsulated[0]); i++) {
        check_encapsulated(&encapsulated[i], 0);
        check_encapsulated(&encapsulated[i], 8);
    }
}

static void pieces_pass_over_the_headers(void **state)
{
    (void)state;
    static const struct bytes in =
        B(ITEM("\4") "abcd" ITEM("\0") ITEM("\2") "ef" ITEM("\2") "gh" END);
    static const struct frame f = {.offset = 8, .len = 4 + 8 + 8 + 2 + 8 + 2, .fragments = 4};
    struct dsrc               src = dsrc_of_bytes(&in);
    uint64_t                  at = 0, offset, len;
    uint8_t                   got[16];
    size_t                    n = 0;
    for (;;) {
        assert_int_equal(frame_piece(&src, &f, &at, &offset, &len, NULL), ERR_OK);
        if (len == 0) {
            break;
        }
        memcpy(got + n, in.ptr + offset, len);
        n += len;
    }
    assert_int_equal(n, 8);
    assert_memory_equal(got, "abcdefgh", 8);
}

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order that one reads */
static const struct {
    const char *what;
    uint16_t    rows, columns, samples, bits;
    const char *photometric, *n;
    size_t      len; // of pixel data
    enum err    want;
    size_t      n_frames;
    uint64_t    offset, frame; // of the last frame
    uint8_t     bit;
} native[] = {
    {"8 bits", 4, 5, 1, 8, "MONOCHROME2", "", 20, ERR_OK, 1, 0, 20, 0},
    {"16 bits, three frames", 4, 5, 1, 16, "MONOCHROME2", "3", 120, ERR_OK, 3, 80, 40, 0},
    {"colour", 4, 5, 3, 8, "RGB", "2", 120, ERR_OK, 2, 60, 60, 0},
    {"half the chroma", 4, 6, 3, 8, "YBR_FULL_422", "2", 96, ERR_OK, 2, 48, 48, 0},
    {"half the chroma, said but not done", 4, 6, 3, 8, "YBR_FULL_422", "2", 144, ERR_OK, 2, 72, 72,
     0},
    {"a quarter of it", 4, 4, 3, 8, "YBR_PARTIAL_420", "1", 24, ERR_OK, 1, 0, 24, 0},
    {"single bits", 3, 5, 1, 1, "MONOCHROME2", "3", 6, ERR_OK, 3, 3, 3, 6},
    {"padded", 3, 3, 1, 8, "MONOCHROME2", "1", 10, ERR_OK, 1, 0, 9, 0},
    {"cut in the second frame", 4, 5, 1, 16, "MONOCHROME2", "3", 50, ERR_OK, 2, 40, 10, 0},
    {"empty", 4, 5, 1, 16, "MONOCHROME2", "3", 0, ERR_SYNTAX, 0, 0, 0, 0},
    {"no rows", 0, 5, 1, 16, "MONOCHROME2", "1", 40, ERR_SYNTAX, 0, 0, 0, 0},
    {"absurd", 65535, 65535, 65535, 65535, "RGB", "2147483647", 40, ERR_OK, 1, 0, 40, 0},
};

static void native_frames_are_computed(void **state)
{
    (void)state;
    static const uint8_t zeros[256];
    for (size_t i = 0; i < sizeof(native) / sizeof(native[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        CLEANUP(buf_done) struct buf     b;
        arena_init(&a, 1 << 20);
        buf_init(&b, 1 << 16);
        struct dset *d = dset_new(&a);
        assert_int_equal(dset_put_u16(d, 0x00280002, native[i].samples), ERR_OK);
        assert_int_equal(dset_put_str(d, 0x00280004, str_of(native[i].photometric)), ERR_OK);
        assert_int_equal(dset_put_str(d, 0x00280008, str_of(native[i].n)), ERR_OK);
        assert_int_equal(dset_put_u16(d, 0x00280010, native[i].rows), ERR_OK);
        assert_int_equal(dset_put_u16(d, 0x00280011, native[i].columns), ERR_OK);
        assert_int_equal(dset_put_u16(d, 0x00280100, native[i].bits), ERR_OK);
        assert_int_equal(dset_put(d, 0x7FE00010, VR_OW, (struct bytes){zeros, native[i].len}),
                         ERR_OK);
        assert_int_equal(dset_write(d, &SYNTAX_EXPLICIT, false, &b, NULL), ERR_OK);
        struct bytes      file = {b.ptr, b.len};
        struct dsrc       src = dsrc_of_bytes(&file);
        struct parse_opts o = {.max_value = 16};
        struct frames     f = {0};
        struct errmsg     e = {0};
        assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
        enum err            rc = frames_find(d, &src, &a, &f, &e);
        const struct frame *last = f.n > 0 ? &f.v[f.n - 1] : NULL;
        if (rc != native[i].want || f.n != native[i].n_frames ||
            (last != NULL && (last->offset != b.len - native[i].len + native[i].offset ||
                              last->len != native[i].frame || last->bit != native[i].bit))) {
            fail_msg("%s: %s %s, %zu frames", native[i].what, err_name(rc), e.text, f.n);
        }
    }
}

static void an_object_without_pixels_has_none(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    const struct bytes none = {0};
    struct dsrc        src = dsrc_of_bytes(&none);
    struct frames      f;
    assert_int_equal(frames_find(dset_new(&a), &src, &a, &f, NULL), ERR_NOTFOUND);
}

static void a_full_arena_is_a_limit(void **state)
{
    (void)state;
    const struct encapsulated       *c = &encapsulated[2];
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 16);
    write_encapsulated(&a, &b, c);
    buf_add(&b, c->items);
    struct bytes      file = {b.ptr, b.len};
    struct dsrc       src = dsrc_of_bytes(&file);
    struct parse_opts o = {0};
    struct dset      *d;
    assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
    enum err rc = ERR_LIMIT;
    for (size_t cap = 0; rc == ERR_LIMIT; cap += 16) {
        CLEANUP(arena_done) struct arena small;
        arena_init(&small, cap);
        struct frames f;
        rc = frames_find(d, &src, &small, &f, NULL);
    }
    assert_int_equal(rc, ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_become_frames),
        cmocka_unit_test(pieces_pass_over_the_headers),
        cmocka_unit_test(native_frames_are_computed),
        cmocka_unit_test(an_object_without_pixels_has_none),
        cmocka_unit_test(a_full_arena_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
