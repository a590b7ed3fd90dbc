#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/tags.h"
#include "pixel/image.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { ABSENT = -1 };

/* A CT of 512 by 512 in 16 bits, but for these. */
struct attrs {
    const char *what;
    enum err    want;

    struct {
        uint32_t tag;
        int64_t  value;
    } but[9];

    const char *photometric, *frames; // "": absent
    uint32_t    pixels;               // the tag of the pixels: 0: none
};

static void put(struct dset *d, uint32_t tag, int64_t v)
{
    if (v != ABSENT) {
        assert_int_equal(dset_put_u16(d, tag, (uint16_t)v), ERR_OK);
    }
}

static struct dset *make(struct arena *a, const struct attrs *t)
{
    static const uint8_t nothing[2];

    static const struct {
        uint32_t tag;
        uint16_t value;
    } ct[] = {
        {DT_Rows, 512},      {DT_Columns, 512}, {DT_SamplesPerPixel, 1},     {DT_BitsAllocated, 16},
        {DT_BitsStored, 12}, {DT_HighBit, 11},  {DT_PixelRepresentation, 0},
    };
    struct dset *d = dset_new(a);
    for (size_t i = 0; i < LEN(ct); i++) {
        put(d, ct[i].tag, ct[i].value);
    }
    for (size_t i = 0; i < LEN(t->but) && t->but[i].tag != 0; i++) {
        dset_remove(d, t->but[i].tag);
        put(d, t->but[i].tag, t->but[i].value);
    }
    const char *term = t->photometric == NULL ? "MONOCHROME2" : t->photometric;
    if (term[0] != 0) {
        assert_int_equal(dset_put_str(d, DT_PhotometricInterpretation, str_of(term)), ERR_OK);
    }
    if (t->frames != NULL) {
        assert_int_equal(dset_put_str(d, DT_NumberOfFrames, str_of(t->frames)), ERR_OK);
    }
    if (t->pixels != 0) {
        assert_int_equal(dset_put(d, t->pixels, VR_OW, (struct bytes){nothing, 2}), ERR_OK);
    }
    return d;
}

static const struct attrs cases[] = {
    {"a CT", ERR_OK, .pixels = DT_PixelData},
    {"no attribute at all", ERR_NOTFOUND,
     .but = {{DT_Rows, ABSENT},
             {DT_Columns, ABSENT},
             {DT_SamplesPerPixel, ABSENT},
             {DT_BitsAllocated, ABSENT},
             {DT_BitsStored, ABSENT},
             {DT_HighBit, ABSENT},
             {DT_PixelRepresentation, ABSENT},
             {DT_PlanarConfiguration, ABSENT}}},
    {"pixels without attributes", ERR_SYNTAX,
     .but = {{DT_Rows, ABSENT},
             {DT_Columns, ABSENT},
             {DT_SamplesPerPixel, ABSENT},
             {DT_BitsAllocated, ABSENT},
             {DT_BitsStored, ABSENT},
             {DT_HighBit, ABSENT},
             {DT_PixelRepresentation, ABSENT},
             {DT_PlanarConfiguration, ABSENT}},
     .pixels = DT_PixelData},
    {"the pixels left out by the reader", ERR_OK},
    {"no rows", ERR_SYNTAX, .but = {{DT_Rows, 0}}, .pixels = DT_PixelData},
    {"no columns", ERR_SYNTAX, .but = {{DT_Columns, 0}}, .pixels = DT_PixelData},
    {"bits allocated absent", ERR_SYNTAX, .but = {{DT_BitsAllocated, ABSENT}},
     .pixels = DT_PixelData},
    {"what can be told from the rest is absent", ERR_OK,
     .but = {{DT_SamplesPerPixel, ABSENT},
             {DT_BitsStored, ABSENT},
             {DT_HighBit, ABSENT},
             {DT_PixelRepresentation, ABSENT}},
     .photometric = "", .pixels = DT_PixelData},
    {"more stored than allocated", ERR_SYNTAX, .but = {{DT_BitsStored, 17}, {DT_HighBit, 16}},
     .pixels = DT_PixelData},
    {"nothing stored", ERR_SYNTAX, .but = {{DT_BitsStored, 0}, {DT_HighBit, 0}},
     .pixels = DT_PixelData},
    {"stored bits under bit 0", ERR_SYNTAX, .but = {{DT_HighBit, 10}}, .pixels = DT_PixelData},
    {"stored bits at the top", ERR_OK, .but = {{DT_HighBit, 15}}, .pixels = DT_PixelData},
    {"the high bit outside", ERR_SYNTAX, .but = {{DT_HighBit, 16}}, .pixels = DT_PixelData},
    {"12 bits packed", ERR_UNSUPPORTED, .but = {{DT_BitsAllocated, 12}}, .pixels = DT_PixelData},
    {"64 bit integers", ERR_UNSUPPORTED,
     .but = {{DT_BitsAllocated, 64}, {DT_BitsStored, 64}, {DT_HighBit, 63}},
     .pixels = DT_PixelData},
    {"32 bit integers", ERR_OK,
     .but = {{DT_BitsAllocated, 32}, {DT_BitsStored, 32}, {DT_HighBit, 31}},
     .pixels = DT_PixelData},
    {"a sign of two", ERR_SYNTAX, .but = {{DT_PixelRepresentation, 2}}, .pixels = DT_PixelData},
    {"grey with three samples", ERR_SYNTAX, .but = {{DT_SamplesPerPixel, 3}},
     .pixels = DT_PixelData},
    {"colour with one sample", ERR_SYNTAX, .photometric = "RGB", .pixels = DT_PixelData},
    {"two samples", ERR_UNSUPPORTED, .but = {{DT_SamplesPerPixel, 2}}, .photometric = "ODD",
     .pixels = DT_PixelData},
    {"four samples", ERR_UNSUPPORTED, .but = {{DT_SamplesPerPixel, 4}}, .photometric = "CMYK",
     .pixels = DT_PixelData},
    {"colour", ERR_OK, .but = {{DT_SamplesPerPixel, 3}, {DT_PlanarConfiguration, 1}},
     .photometric = "RGB", .pixels = DT_PixelData},
    {"a bitmap", ERR_OK, .but = {{DT_BitsAllocated, 1}, {DT_BitsStored, 1}, {DT_HighBit, 0}},
     .pixels = DT_PixelData},
    {"a bitmap in colour", ERR_UNSUPPORTED,
     .but = {{DT_SamplesPerPixel, 3}, {DT_BitsAllocated, 1}, {DT_BitsStored, 1}, {DT_HighBit, 0}},
     .photometric = "RGB", .pixels = DT_PixelData},
    {"no frame", ERR_SYNTAX, .frames = "0", .pixels = DT_PixelData},
    {"less than no frame", ERR_SYNTAX, .frames = "-3", .pixels = DT_PixelData},
    {"frames that are no number", ERR_SYNTAX, .frames = "many", .pixels = DT_PixelData},
    {"too many frames to count", ERR_SYNTAX, .frames = "99999999999", .pixels = DT_PixelData},
    {"many frames", ERR_OK, .frames = "30000", .pixels = DT_PixelData},
    {"the largest frame of 8 bits is too large", ERR_LIMIT,
     .but = {{DT_Rows, 65535},
             {DT_Columns, 65535},
             {DT_BitsAllocated, 8},
             {DT_BitsStored, 8},
             {DT_HighBit, 7}},
     .pixels = DT_PixelData},
    {"the largest frame of all", ERR_LIMIT,
     .but = {{DT_Rows, 65535},
             {DT_Columns, 65535},
             {DT_SamplesPerPixel, 3},
             {DT_BitsAllocated, 32},
             {DT_BitsStored, 32},
             {DT_HighBit, 31}},
     .photometric = "RGB", .pixels = DT_PixelData},
    {"floats", ERR_OK,
     .but = {{DT_BitsAllocated, 32},
             {DT_BitsStored, ABSENT},
             {DT_HighBit, ABSENT},
             {DT_PixelRepresentation, ABSENT}},
     .pixels = DT_FloatPixelData},
    {"floats of 16 bits", ERR_SYNTAX, .pixels = DT_FloatPixelData},
    {"doubles", ERR_OK,
     .but = {{DT_BitsAllocated, 64},
             {DT_BitsStored, ABSENT},
             {DT_HighBit, ABSENT},
             {DT_PixelRepresentation, ABSENT}},
     .pixels = DT_DoubleFloatPixelData},
};

static void attributes_are_believed_when_they_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, LIMIT_DSET);
        struct image  got = {.cols = 7};
        uint32_t      frames = 7;
        struct errmsg e = {0};
        enum err      rc = image_of(make(&a, &cases[i]), &got, &frames, &e);
        if (rc != cases[i].want) {
            fail_msg("%s: %s %s", cases[i].what, err_name(rc), e.text);
        }
        if (rc != ERR_OK) {
            assert_int_equal(got.cols, 7); // nothing is written on failure
            assert_int_equal(frames, 7);
            assert_true(e.text[0] != 0);
        }
    }
}

static struct image of(const struct attrs *t, uint32_t *frames)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct image i = {0};
    assert_int_equal(image_of(make(&a, t), &i, frames, NULL), ERR_OK);
    return i;
}

static void what_is_absent_is_told_from_the_rest(void **state)
{
    (void)state;
    uint32_t     frames;
    struct attrs t = {.but = {{DT_SamplesPerPixel, ABSENT},
                              {DT_BitsStored, ABSENT},
                              {DT_HighBit, ABSENT},
                              {DT_PixelRepresentation, ABSENT}},
                      .photometric = "",
                      .pixels = DT_PixelData};
    struct image i = of(&t, &frames);
    assert_int_equal(i.samples, 1);
    assert_int_equal(i.stored, 16);
    assert_int_equal(i.high_bit, 15);
    assert_false(i.is_signed);
    assert_int_equal(i.photometric, PHOTO_MONOCHROME2);
    assert_int_equal(i.kind, SAMPLE_INT);
    assert_int_equal(frames, 1);
    t.but[0].value = 3;
    assert_int_equal(of(&t, &frames).photometric, PHOTO_RGB);
    t.but[0].tag = DT_BitsAllocated;
    t.but[0].value = 32;
    t.pixels = 0; // as a reader that stops before them
    assert_int_equal(of(&t, &frames).kind, SAMPLE_FLOAT);
    t.but[3].value = 1;
    assert_int_equal(of(&t, &frames).kind, SAMPLE_INT);
    t.frames = "17";
    (void)of(&t, &frames);
    assert_int_equal(frames, 17);
}

static void a_plane_of_grey_is_not_planar(void **state)
{
    (void)state;
    uint32_t frames;
    assert_false(of(&(struct attrs){.but = {{DT_PlanarConfiguration, 1}}}, &frames).planar);
}

static void names_make_the_round_trip(void **state)
{
    (void)state;
    for (unsigned p = 0; p < PHOTO_OTHER; p++) {
        assert_int_equal(photometric_parse(photometric_name((enum photometric)p)), p);
    }
    assert_int_equal(photometric_parse(STR("HSV")), PHOTO_OTHER);
    assert_int_equal(photometric_parse(STR("")), PHOTO_OTHER);
    assert_int_equal(photometric_parse(STR("YBR_PARTIAL_422")), PHOTO_YBR_FULL_422);
}

static void frames_have_their_bytes(void **state)
{
    (void)state;

    static const struct {
        struct image i;
        size_t       want; // 0: over the limit
    } sizes[] = {
        {{.cols = 512, .rows = 512, .samples = 1, .allocated = 16}, 524288},
        {{.cols = 3, .rows = 5, .samples = 1, .allocated = 1}, 2},
        {{.cols = 8, .rows = 8, .samples = 1, .allocated = 1}, 8},
        {{.cols = 3, .rows = 5, .samples = 3, .allocated = 8}, 45},
        {{.cols = 4, .rows = 5, .samples = 3, .allocated = 8, .photometric = PHOTO_YBR_FULL_422},
         40},
        {{.cols = 3, .rows = 5, .samples = 3, .allocated = 8, .photometric = PHOTO_YBR_FULL_422},
         40},
        {{.cols = 1, .rows = 1, .samples = 1, .allocated = 64, .kind = SAMPLE_DOUBLE}, 8},
        {{.cols = 32768, .rows = 16384, .samples = 1, .allocated = 8}, LIMIT_FRAME},
        {{.cols = 32768, .rows = 16385, .samples = 1, .allocated = 8}, 0},
        {{.cols = UINT32_MAX, .rows = UINT32_MAX, .samples = UINT16_MAX, .allocated = UINT16_MAX},
         0},
    };

    for (size_t i = 0; i < LEN(sizes); i++) {
        size_t   n = 7;
        enum err rc = image_bytes(&sizes[i].i, &n, NULL);
        assert_int_equal(rc, sizes[i].want == 0 ? ERR_LIMIT : ERR_OK);
        assert_int_equal(n, rc == ERR_OK ? sizes[i].want : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_are_believed_when_they_agree),
        cmocka_unit_test(what_is_absent_is_told_from_the_rest),
        cmocka_unit_test(a_plane_of_grey_is_not_planar),
        cmocka_unit_test(names_make_the_round_trip),
        cmocka_unit_test(frames_have_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
