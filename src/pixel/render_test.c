#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dicom/tags.h"
#include "pixel/render_job.h"
#include "pixel/render_priv.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { MEM = 8 << 20 };

static void put(struct dset *d, uint32_t tag, const char *text)
{
    assert_int_equal(dset_put_str(d, tag, str_of(text)), ERR_OK);
}

static void put_us(struct dset *d, uint32_t tag, enum vr vr, const uint16_t *v, size_t n)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, MEM);
    for (size_t i = 0; i < n; i++) {
        buf_u16le(&b, v[i]);
    }
    assert_int_equal(dset_put(d, tag, vr, (struct bytes){b.ptr, b.len}), ERR_OK);
}

/* A row of n pixels. */
static struct image row_of(uint32_t n, uint16_t allocated, uint16_t stored, bool is_signed)
{
    return (struct image){.cols = n,
                          .rows = 1,
                          .samples = 1,
                          .allocated = allocated,
                          .stored = stored,
                          .high_bit = (uint16_t)(stored - 1),
                          .is_signed = is_signed,
                          .photometric = PHOTO_MONOCHROME2};
}

static void check_px(const char *what, const struct picture *p, const uint8_t *want, size_t n)
{
    assert_int_equal(p->px.len, n);
    for (size_t i = 0; i < n; i++) {
        int d = (int)p->px.ptr[i] - (int)want[i];
        if (d < -1 || d > 1) {
            fail_msg("%s: sample %zu is %u, not %u", what, i, p->px.ptr[i], want[i]);
        }
    }
}

/* want: as many samples as come out */
static void shows(const char *what, const struct render_source *s, const struct image *i,
                  const void *px, const struct render_opts *o, const uint8_t *want)
{
    struct picture p = {0};
    struct errmsg  e = {0};
    size_t         len;
    assert_int_equal(image_bytes(i, &len, NULL), ERR_OK);
    if (render_frame(s, i, (struct bytes){px, len}, o, &p, &e) != ERR_OK) {
        fail_msg("%s: %s", what, e.text);
    }
    check_px(what, &p, want, p.px.len);
    picture_done(&p);
}

/* ---- grey */

enum { PIXELS = 5 };

static const struct grey_case {
    const char *what;
    uint16_t    allocated, stored;
    bool        is_signed;
    int16_t     in[PIXELS];

    struct {
        uint32_t    tag;
        const char *text;
    } with[5];

    uint8_t want[PIXELS];
} greys[] = {
    {"no window: from the least to the greatest",
     16,
     12,
     false,
     {100, 200, 300, 400, 500},
     {{0}},
     {0, 64, 128, 191, 255}},
    {"8 bits without a window stay as they are",
     8,
     8,
     false,
     {0, 1, 100, 200, 254},
     {{0}},
     {0, 1, 100, 200, 254}},
    {"a linear window, PS3.3 C.11.2.1.2.1",
     16,
     16,
     true,
     {-1024, 0, 40, 80, 3000},
     {{DT_WindowCenter, "40"}, {DT_WindowWidth, "400"}},
     {0, 102, 128, 153, 255}},
    {"the first of several windows",
     16,
     16,
     true,
     {-1024, 0, 40, 80, 3000},
     {{DT_WindowCenter, "40\\500"}, {DT_WindowWidth, "400\\2000"}},
     {0, 102, 128, 153, 255}},
    {"a window after the rescale",
     16,
     12,
     false,
     {0, 1024, 1064, 1104, 4000},
     {{DT_WindowCenter, "40"},
      {DT_WindowWidth, "400"},
      {DT_RescaleSlope, "1"},
      {DT_RescaleIntercept, "-1024"}},
     {0, 102, 128, 153, 255}},
    {"linear exact, C.11.2.1.2.3.2",
     16,
     16,
     false,
     {0, 25, 50, 75, 100},
     {{DT_WindowCenter, "50"}, {DT_WindowWidth, "100"}, {DT_VOILUTFunction, "LINEAR_EXACT"}},
     {0, 64, 128, 191, 255}},
    {"sigmoid, C.11.2.1.2.3.1",
     16,
     16,
     false,
     {0, 25, 50, 75, 100},
     {{DT_WindowCenter, "50"}, {DT_WindowWidth, "100"}, {DT_VOILUTFunction, "SIGMOID"}},
     {30, 69, 128, 186, 225}},
    {"a window of width 1 is a step",
     16,
     16,
     false,
     {8, 9, 10, 11, 12},
     {{DT_WindowCenter, "10"}, {DT_WindowWidth, "1"}},
     {0, 0, 255, 255, 255}},
    {"a window of no width counts as none",
     16,
     16,
     false,
     {0, 25, 50, 75, 100},
     {{DT_WindowCenter, "10"}, {DT_WindowWidth, "0"}},
     {0, 64, 128, 191, 255}},
    {"MONOCHROME1 is inverted",
     16,
     16,
     false,
     {0, 25, 50, 75, 100},
     {{DT_PhotometricInterpretation, "MONOCHROME1"}},
     {255, 191, 128, 64, 0}},
    {"padding is black and does not count",
     16,
     16,
     true,
     {-2000, 0, 50, 75, 100},
     {{DT_PixelPaddingValue, "-2000"}},
     {0, 0, 128, 191, 255}},
    {"a range of padding",
     16,
     16,
     true,
     {-2000, -1999, 0, 50, 100},
     {{DT_PixelPaddingValue, "-2000"}, {DT_PixelPaddingRangeLimit, "-1900"}},
     {0, 0, 0, 128, 255}},
    {"one value everywhere", 16, 16, false, {7, 7, 7, 7, 7}, {{0}}, {0, 0, 0, 0, 0}},
};

static void put_attr(struct dset *d, uint32_t tag, const char *text)
{
    if (tag == DT_PixelPaddingValue || tag == DT_PixelPaddingRangeLimit) {
        uint16_t v = text[1] == '2' ? (uint16_t)-2000 : (uint16_t)-1900;
        put_us(d, tag, VR_SS, &v, 1);
    } else {
        put(d, tag, text);
    }
}

static void greys_go_through_the_tables(void **state)
{
    (void)state;
    for (size_t k = 0; k < LEN(greys); k++) {
        const struct grey_case          *c = &greys[k];
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, MEM);
        struct dset *d = dset_new(&a);
        struct image i = row_of(PIXELS, c->allocated, c->stored, c->is_signed);
        uint8_t      px[2 * PIXELS];
        for (size_t n = 0; n < LEN(c->with) && c->with[n].tag != 0; n++) {
            put_attr(d, c->with[n].tag, c->with[n].text);
        }
        if (has_value(d, DT_PhotometricInterpretation)) {
            i.photometric = photometric_parse(dset_str(d, DT_PhotometricInterpretation));
        }
        for (size_t n = 0; n < PIXELS; n++) {
            size_t at = c->allocated == 16 ? 2 * n : n;
            px[at] = (uint8_t)c->in[n];
            px[at + (c->allocated == 16)] =
                (uint8_t)(c->allocated == 16 ? (uint16_t)c->in[n] >> 8 : c->in[n]);
        }
        shows(c->what, &(struct render_source){.d = d}, &i, px, &(struct render_opts){0}, c->want);
    }
}

static void the_caller_s_window_comes_first(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset *d = dset_new(&a);
    put(d, DT_WindowCenter, "1000");
    put(d, DT_WindowWidth, "10");
    struct image       i = row_of(3, 8, 8, false);
    struct render_opts o = {
        .has_window = true, .center = 50, .width = 100, .function = VOI_LINEAR_EXACT};
    shows("window", &(struct render_source){.d = d}, &i, (const uint8_t[]){0, 50, 100}, &o,
          (const uint8_t[]){0, 128, 255});
}

static void wide_and_floating_pixels_are_shown(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct render_source s = {.d = dset_new(&a)};
    struct image         i = row_of(3, 32, 32, true);
    static const int32_t ints[] = {-100000, 0, 100000};
    static const float   floats[] = {-0.5F, 0, 0.5F};
    static const double  doubles[] = {-1e300, 0, 1e300};
    static const uint8_t want[] = {0, 128, 255};
    shows("32 bits", &s, &i, ints, &(struct render_opts){0}, want);
    i.kind = SAMPLE_FLOAT;
    shows("floats", &s, &i, floats, &(struct render_opts){0}, want);
    i.kind = SAMPLE_DOUBLE;
    i.allocated = i.stored = 64;
    i.high_bit = 63;
    struct render_opts o = {.has_window = true, .width = 1e300, .function = VOI_LINEAR_EXACT};
    shows("doubles", &s, &i, doubles, &o, want);
    i = row_of(3, 1, 1, false);
    shows("a bitmap", &s, &i, (const uint8_t[]){5}, &(struct render_opts){0},
          (const uint8_t[]){255, 0, 255});
}

static void stored_bits_may_lie_anywhere(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct render_source  s = {.d = dset_new(&a)};
    struct image          i = row_of(3, 16, 12, false);
    static const uint16_t px[] = {0xF, 0x7FFF, 0xFFF0}; // the lower four are something else
    i.high_bit = 15;
    shows("high bit 15", &s, &i, px, &(struct render_opts){0}, (const uint8_t[]){0, 127, 255});
}

static struct dset *table(struct dset *d, uint32_t seq, const uint16_t desc[3], const uint16_t *v,
                          size_t n)
{
    struct dset *item;
    assert_int_equal(dset_put_item(d, seq, &item), ERR_OK);
    put_us(item, DT_LUTDescriptor, VR_US, desc, 3);
    put_us(item, DT_LUTData, VR_US, v, n);
    return item;
}

static void tables_are_used_for_modality_and_voi(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct render_source s = {.d = dset_new(&a)};
    struct dset         *d = dset_new(&a);
    struct image         i = row_of(4, 16, 16, false);
    s.d = d;
    (void)table(d, DT_ModalityLUTSequence, (const uint16_t[]){3, 10, 16},
                (const uint16_t[]){100, 200, 300}, 3);
    (void)table(d, DT_VOILUTSequence, (const uint16_t[]){201, 100, 8}, (const uint16_t[201]){0},
                201);
    uint16_t ramp[201];
    for (uint16_t k = 0; k < 201; k++) {
        ramp[k] = k;
    }
    dset_remove(d, DT_VOILUTSequence);
    (void)table(d, DT_VOILUTSequence, (const uint16_t[]){201, 100, 8}, ramp, 201);
    shows("tables, clamped at both ends", &s, &i, (const uint16_t[]){0, 10, 11, 99},
          &(struct render_opts){0}, (const uint8_t[]){0, 0, 100, 200});
}

static void functional_groups_are_looked_in_first(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset *d = dset_new(&a), *frame, *macro, *shared;
    put(d, DT_WindowCenter, "5000");
    put(d, DT_WindowWidth, "1");
    for (int k = 0; k < 2; k++) {
        assert_int_equal(dset_put_item(d, DT_PerFrameFunctionalGroupsSequence, &frame), ERR_OK);
        assert_int_equal(dset_put_item(frame, DT_FrameVOILUTSequence, &macro), ERR_OK);
        put(macro, DT_WindowCenter, k == 0 ? "4000" : "50");
        put(macro, DT_WindowWidth, k == 0 ? "1" : "100");
        put(macro, DT_VOILUTFunction, "LINEAR_EXACT");
    }
    assert_int_equal(dset_put_item(d, DT_SharedFunctionalGroupsSequence, &shared), ERR_OK);
    assert_int_equal(dset_put_item(shared, DT_PixelValueTransformationSequence, &macro), ERR_OK);
    put(macro, DT_RescaleSlope, "2");
    put(macro, DT_RescaleIntercept, "0");
    struct image i = row_of(3, 8, 8, false);
    shows("per frame window, shared rescale", &(struct render_source){.d = d, .item = 1}, &i,
          (const uint8_t[]){0, 25, 50}, &(struct render_opts){0}, (const uint8_t[]){0, 128, 255});
}

/* ---- colour */

static struct image colour(uint32_t n, enum photometric p)
{
    struct image i = row_of(n, 8, 8, false);
    i.photometric = p;
    i.samples = p == PHOTO_PALETTE ? 1 : 3;
    return i;
}

static void colours_become_rgb(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct render_source s = {.d = dset_new(&a)};
    struct render_opts   o = {0};
    struct image         i = colour(2, PHOTO_RGB);
    static const uint8_t red_blue[] = {255, 0, 0, 0, 0, 255};
    shows("RGB", &s, &i, red_blue, &o, red_blue);
    i.planar = true;
    shows("planes", &s, &i, (const uint8_t[]){255, 0, 0, 0, 0, 255}, &o, red_blue);
    i = colour(2, PHOTO_YBR_FULL);
    shows("YBR_FULL", &s, &i, (const uint8_t[]){76, 85, 255, 29, 255, 107}, &o,
          (const uint8_t[]){254, 0, 0, 0, 0, 254});
    i = colour(2, PHOTO_YBR_FULL_422);
    shows("YBR_FULL_422", &s, &i, (const uint8_t[]){0, 255, 128, 128}, &o,
          (const uint8_t[]){0, 0, 0, 255, 255, 255});
    i = colour(3, PHOTO_YBR_FULL_422); // an odd row ends with a pixel that is none
    shows("odd 422", &s, &i, (const uint8_t[]){0, 255, 128, 128, 9, 0, 128, 128}, &o,
          (const uint8_t[]){0, 0, 0, 255, 255, 255, 9, 9, 9});
    i = colour(1, PHOTO_RGB);
    i.allocated = i.stored = 16;
    i.high_bit = 15;
    shows("16 bits a colour", &s, &i, (const uint16_t[]){0xFFFF, 0x8000, 0}, &o,
          (const uint8_t[]){255, 128, 0});
}

static void put_palette(struct dset *d, const uint16_t desc[3], const uint16_t *v, size_t n)
{
    for (uint32_t c = 0; c < 3; c++) {
        put_us(d, DT_RedPaletteColorLookupTableDescriptor + c, VR_US, desc, 3);
        put_us(d, DT_RedPaletteColorLookupTableData + c, VR_OW, v + c * n, n);
    }
}

static void palettes_are_looked_up(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset         *d = dset_new(&a);
    struct render_source s = {.d = d};
    struct image         i = colour(3, PHOTO_PALETTE);
    static const uint8_t px[] = {0, 10, 11};
    put_palette(d, (const uint16_t[]){2, 10, 16},
                (const uint16_t[]){0xFF00, 0, 0x8000, 0, 0, 0x4000}, 2);
    shows("16 bits, from 10 on", &s, &i, px, &(struct render_opts){0},
          (const uint8_t[]){255, 128, 0, 255, 128, 0, 0, 0, 64});
    put_palette(d, (const uint16_t[]){2, 10, 16}, (const uint16_t[]){255, 0, 128, 0, 0, 64}, 2);
    shows("16 bits announced, 8 used", &s, &i, px, &(struct render_opts){0},
          (const uint8_t[]){255, 128, 0, 255, 128, 0, 0, 0, 64});
    put_palette(d, (const uint16_t[]){4, 10, 8},
                (const uint16_t[]){0x00FF, 0, 0x0080, 0, 0x4000, 0}, 2);
    shows("8 bits, two in a word", &s, &i, px, &(struct render_opts){0},
          (const uint8_t[]){255, 128, 0, 255, 128, 0, 0, 0, 64});
}

/* ---- segments, PS3.3 C.7.9.2 */

static const struct {
    const char *what;
    enum err    want;
    uint16_t    in[16];
    size_t      len;
    uint16_t    out[6];
} segments[] = {
    {"discrete", ERR_OK, {0, 6, 1, 2, 3, 4, 5, 6}, 8, {1, 2, 3, 4, 5, 6}},
    {"linear from the value before", ERR_OK, {0, 1, 10, 1, 5, 60}, 6, {10, 20, 30, 40, 50, 60}},
    {"linear downwards", ERR_OK, {0, 1, 60, 1, 5, 10}, 6, {60, 50, 40, 30, 20, 10}},
    {"again what was there", ERR_OK, {0, 2, 7, 9, 2, 1, 0, 0, 2, 1, 0, 0}, 12, {7, 9, 7, 9, 7, 9}},
    {"linear at the beginning", ERR_SYNTAX, {1, 6, 9}, 3, {0}},
    {"cut short", ERR_SYNTAX, {0, 6, 1, 2}, 4, {0}},
    {"too few", ERR_SYNTAX, {0, 2, 1, 2}, 4, {0}},
    {"an unknown segment", ERR_SYNTAX, {3, 6, 1, 2}, 4, {0}},
    {"an indirect one that points at itself", ERR_SYNTAX, {2, 1, 0, 0}, 4, {0}},
    {"one that points outside", ERR_SYNTAX, {2, 1, 99, 0}, 4, {0}},
    {"empty", ERR_SYNTAX, {0}, 0, {0}},
    {"of no length for ever", ERR_SYNTAX, {0, 0, 2, 1, 0, 0}, 6, {0}},
};

static void segments_are_expanded(void **state)
{
    (void)state;
    for (size_t k = 0; k < LEN(segments); k++) {
        uint16_t     out[6] = {0};
        struct bytes in = {(const uint8_t *)segments[k].in, 2 * segments[k].len};
        enum err     rc = lut_expand(in, true, out, 6, NULL);
        if (rc != segments[k].want ||
            (rc == ERR_OK && memcmp(out, segments[k].out, sizeof(out)) != 0)) {
            fail_msg("%s: %s", segments[k].what, err_name(rc));
        }
    }
    uint16_t out[3];
    assert_int_equal(
        lut_expand((struct bytes){(const uint8_t *)"\0\1\7\1\2\11", 6}, false, out, 3, NULL),
        ERR_OK);
    assert_int_equal(out[2], 9);
}

/* ---- overlays, shutters, presentation states */

static void put_overlay(struct dset *d, uint16_t w, uint16_t h, const uint16_t *bits, size_t n)
{
    put_us(d, TAG(0x6000, 0x0010), VR_US, &h, 1);
    put_us(d, TAG(0x6000, 0x0011), VR_US, &w, 1);
    put_us(d, TAG(0x6000, 0x3000), VR_OW, bits, n);
}

static void overlays_are_burned_in(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset         *d = dset_new(&a);
    struct render_source s = {.d = d};
    struct image         i = row_of(4, 8, 8, false);
    static const uint8_t px[] = {1, 2, 3, 4};
    put_overlay(d, 2, 1, (const uint16_t[]){1}, 1);
    shows("its data", &s, &i, px, &(struct render_opts){0}, (const uint8_t[]){255, 2, 3, 4});
    put_us(d, TAG(0x6000, 0x0050), VR_SS, (const uint16_t[]){1, 4}, 2); // row, column
    shows("moved, partly outside", &s, &i, px, &(struct render_opts){0},
          (const uint8_t[]){1, 2, 3, 255});
    put(d, TAG(0x6000, 0x0015), "2");
    put_us(d, TAG(0x6000, 0x0050), VR_SS, (const uint16_t[]){1, 1}, 2);
    put_overlay(d, 4, 1, (const uint16_t[]){0x81}, 1);
    s.frame = 1;
    shows("of the second frame", &s, &i, px, &(struct render_opts){0},
          (const uint8_t[]){1, 2, 3, 255});
    s.frame = 2;
    shows("not of the third", &s, &i, px, &(struct render_opts){0}, px);
    dset_remove(d, TAG(0x6000, 0x3000));
    put_us(d, TAG(0x6000, 0x0100), VR_US, (const uint16_t[]){8}, 1);
    put_us(d, TAG(0x6000, 0x0102), VR_US, (const uint16_t[]){7}, 1);
    i.stored = 7;
    i.high_bit = 6;
    shows("in the bits of the pixels", &s, &i, (const uint8_t[]){0, 0x80, 127, 0xFF},
          &(struct render_opts){0}, (const uint8_t[]){0, 255, 255, 255});
}

static void put_fl(struct dset *d, uint32_t tag, const float *v, size_t n)
{
    assert_int_equal(dset_put(d, tag, VR_FL, (struct bytes){(const uint8_t *)v, 4 * n}), ERR_OK);
}

static struct dset *state_of(struct arena *a)
{
    struct dset *d = dset_new(a), *item;
    put(d, DT_PresentationLUTShape, "IDENTITY");
    assert_int_equal(dset_put_item(d, DT_SoftcopyVOILUTSequence, &item), ERR_OK);
    put(item, DT_WindowCenter, "50");
    put(item, DT_WindowWidth, "100");
    put(item, DT_VOILUTFunction, "LINEAR_EXACT");
    return d;
}

static void a_state_brings_its_window_shape_and_turn(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset         *d = dset_new(&a), *gsps = state_of(&a);
    struct render_source s = {.d = d, .state = gsps};
    struct image         i = row_of(3, 8, 8, false);
    struct render_opts   o = {0};
    static const uint8_t px[] = {0, 50, 100};
    put(d, DT_WindowCenter, "1");
    put(d, DT_WindowWidth, "1");
    i.photometric = PHOTO_MONOCHROME1; // the state says how it looks
    shows("window", &s, &i, px, &o, (const uint8_t[]){0, 128, 255});
    put(gsps, DT_PresentationLUTShape, "INVERSE");
    shows("inverse", &s, &i, px, &o, (const uint8_t[]){255, 128, 0});
    put(gsps, DT_ImageHorizontalFlip, "Y");
    put_us(gsps, DT_ImageRotation, VR_US, (const uint16_t[]){0}, 1);
    shows("mirrored", &s, &i, px, &o, (const uint8_t[]){0, 128, 255});
    put_us(gsps, DT_ImageRotation, VR_US, (const uint16_t[]){90}, 1);
    put(gsps, DT_ImageHorizontalFlip, "N");
    struct picture p = {0};
    assert_int_equal(render_frame(&s, &i, (struct bytes){px, 3}, &o, &p, NULL), ERR_OK);
    assert_int_equal(p.w, 1);
    assert_int_equal(p.h, 3);
    check_px("turned clockwise", &p, (const uint8_t[]){255, 128, 0}, 3);
    picture_done(&p);
}

static void a_state_for_other_images_is_left_alone(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset *d = dset_new(&a), *gsps = state_of(&a), *ref;
    put(d, DT_SOPInstanceUID, "1.2.3");
    struct dset *item = dset_find(gsps, DT_SoftcopyVOILUTSequence)->items[0];
    assert_int_equal(dset_put_item(item, DT_ReferencedImageSequence, &ref), ERR_OK);
    put(ref, DT_ReferencedSOPInstanceUID, "1.2.4");
    struct image i = row_of(3, 8, 8, false);
    shows("not for it", &(struct render_source){.d = d, .state = gsps}, &i,
          (const uint8_t[]){0, 50, 100}, &(struct render_opts){0}, (const uint8_t[]){0, 50, 100});
    put(ref, DT_ReferencedSOPInstanceUID, "1.2.3");
    put(ref, DT_ReferencedFrameNumber, "2");
    shows("for another frame", &(struct render_source){.d = d, .state = gsps}, &i,
          (const uint8_t[]){0, 50, 100}, &(struct render_opts){0}, (const uint8_t[]){0, 50, 100});
    shows("for this one", &(struct render_source){.d = d, .state = gsps, .frame = 1}, &i,
          (const uint8_t[]){0, 50, 100}, &(struct render_opts){0}, (const uint8_t[]){0, 128, 255});
}

static struct image square(uint32_t n)
{
    struct image i = row_of(n, 8, 8, false);
    i.rows = n;
    return i;
}

static unsigned count(const struct picture *p, uint8_t v)
{
    unsigned n = 0;
    for (size_t i = 0; i < p->px.len; i++) {
        n += p->px.ptr[i] == v;
    }
    return n;
}

static void shutters_hide_what_lies_outside(void **state)
{
    (void)state;
    static const uint8_t white[100] = {
        200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200,
        200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200,
        200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200,
        200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200,
        200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200,
        200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200};

    static const struct {
        const char *shape;
        uint32_t    tag[4];
        const char *text[4];
        unsigned    seen;
    } shapes[] = {
        {"RECTANGULAR",
         {DT_ShutterLeftVerticalEdge, DT_ShutterRightVerticalEdge, DT_ShutterUpperHorizontalEdge,
          DT_ShutterLowerHorizontalEdge},
         {"3", "5", "2", "3"},
         6},
        {"CIRCULAR", {DT_CenterOfCircularShutter, DT_RadiusOfCircularShutter}, {"5\\5", "1"}, 5},
        {"POLYGONAL", {DT_VerticesOfThePolygonalShutter}, {"2\\2\\2\\6\\6\\6\\6\\2"}, 16},
        {"POLYGONAL", {DT_VerticesOfThePolygonalShutter}, {"2\\2"}, 100},
        {"CIRCULAR", {0}, {NULL}, 100},
    };

    for (size_t k = 0; k < LEN(shapes); k++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, MEM);
        struct dset   *d = dset_new(&a);
        struct image   i = square(10);
        struct picture p = {0};
        put(d, DT_ShutterShape, shapes[k].shape);
        for (size_t n = 0; n < 4 && shapes[k].tag[n] != 0; n++) {
            put(d, shapes[k].tag[n], shapes[k].text[n]);
        }
        assert_int_equal(render_frame(&(struct render_source){.d = d}, &i,
                                      (struct bytes){white, 100}, &(struct render_opts){0}, &p,
                                      NULL),
                         ERR_OK);
        if (count(&p, 200) != shapes[k].seen) {
            fail_msg("%s %zu: %u seen", shapes[k].shape, k, count(&p, 200));
        }
        picture_done(&p);
    }
}

static void lines_are_drawn_where_the_state_says(void **state)
{
    (void)state;

    static const struct {
        const char *type, *units;
        float       v[8];
        size_t      n;
        unsigned    least, most; // dots
    } objects[] = {
        {"POLYLINE", "PIXEL", {1, 1, 10, 1}, 4, 10, 10},
        {"POLYLINE", "DISPLAY", {0, 0.5F, 1, 0.5F}, 4, 10, 10},
        {"POINT", "PIXEL", {5, 5}, 2, 13, 13},
        {"CIRCLE", "PIXEL", {5, 5, 8, 5}, 4, 12, 28},
        {"ELLIPSE", "PIXEL", {2, 5, 9, 5, 5, 4, 5, 7}, 8, 12, 28},
        {"INTERPOLATED", "PIXEL", {1, 1, 5, 5, 9, 1}, 6, 8, 20},
        {"POLYLINE", "PIXEL", {-1e30F, 5, 1e30F, 5}, 4, 10, 11},
        {"POLYLINE", "PIXEL", {1, 1}, 2, 0, 0},
        {"CIRCLE", "PIXEL", {1}, 1, 0, 0},
    };

    for (size_t k = 0; k < LEN(objects); k++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, MEM);
        struct dset         *d = dset_new(&a), *gsps = dset_new(&a), *note, *o;
        struct image         i = square(10);
        struct picture       p = {0};
        static const uint8_t black[100];
        assert_int_equal(dset_put_item(gsps, DT_GraphicAnnotationSequence, &note), ERR_OK);
        assert_int_equal(dset_put_item(note, DT_GraphicObjectSequence, &o), ERR_OK);
        put(o, DT_GraphicType, objects[k].type);
        put(o, DT_GraphicAnnotationUnits, objects[k].units);
        put_fl(o, DT_GraphicData, objects[k].v, objects[k].n);
        assert_int_equal(render_frame(&(struct render_source){.d = d, .state = gsps}, &i,
                                      (struct bytes){black, 100}, &(struct render_opts){0}, &p,
                                      NULL),
                         ERR_OK);
        if (count(&p, 255) < objects[k].least || count(&p, 255) > objects[k].most) {
            fail_msg("%s %zu: %u dots", objects[k].type, k, count(&p, 255));
        }
        picture_done(&p);
    }
}

/* ---- the view */

static void views_are_cut_turned_and_scaled(void **state)
{
    (void)state;
    static const uint8_t px[16] = {0,  10, 20,  30,  40,  50,  60,  70,
                                   80, 90, 100, 110, 120, 130, 140, 150};

    static const struct {
        const char        *what;
        struct render_opts o;
        uint32_t           w, h;
        uint8_t            want[16];
    } views[] = {
        {"averages of four", {.view_w = 2, .view_h = 2}, 2, 2, {25, 45, 105, 125}},
        {"the aspect is kept", {.view_w = 2, .view_h = 99}, 2, 2, {25, 45, 105, 125}},
        {"a region", {.x = 1, .y = 1, .w = 2, .h = 1}, 2, 1, {50, 60}},
        {"mirrored", {.x = 1, .y = 1, .w = -2, .h = 1}, 2, 1, {60, 50}},
        {"upside down", {.x = 3, .y = 0, .w = 1, .h = -2}, 1, 2, {70, 30}},
        {"to the edge", {.x = 2, .y = 3}, 2, 1, {140, 150}},
        {"more than there is", {.x = 2, .y = 3, .w = 9, .h = 9}, 2, 1, {140, 150}},
        {"half a pixel", {.x = 0.5, .y = 0, .w = 1, .h = 1}, 1, 1, {5}},
        {"larger",
         {.x = 0, .y = 0, .w = 2, .h = 1, .view_w = 4, .view_h = 2},
         4,
         2,
         {0, 3, 8, 13, 10, 13, 18, 23}},
    };
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset *d = dset_new(&a);
    for (size_t k = 0; k < LEN(views); k++) {
        struct image   i = square(4);
        struct picture p = {0};
        struct errmsg  e = {0};
        if (render_frame(&(struct render_source){.d = d}, &i, (struct bytes){px, 16}, &views[k].o,
                         &p, &e) != ERR_OK) {
            fail_msg("%s: %s", views[k].what, e.text);
        }
        if (p.w != views[k].w) {
            fail_msg("%s: %u wide", views[k].what, p.w);
        }
        check_px(views[k].what, &p, views[k].want, (size_t)views[k].w * views[k].h);
        picture_done(&p);
    }
    struct image   i = square(4);
    struct picture p = {0};
    assert_int_equal(render_frame(&(struct render_source){.d = d}, &i, (struct bytes){px, 16},
                                  &(struct render_opts){.x = 4}, &p, NULL),
                     ERR_UNSUPPORTED);
    put(d, DT_PixelAspectRatio, "2\\1");
    assert_int_equal(render_frame(&(struct render_source){.d = d}, &i, (struct bytes){px, 16},
                                  &(struct render_opts){0}, &p, NULL),
                     ERR_OK);
    assert_int_equal(p.w, 4);
    assert_int_equal(p.h, 8); // pixels are twice as high as wide
    picture_done(&p);
}

static void a_frame_cut_short_is_refused(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct image   i = square(4);
    struct picture p = {.w = 7};
    assert_int_equal(render_frame(&(struct render_source){.d = dset_new(&a)}, &i,
                                  (struct bytes){(const uint8_t *)"123456789012345", 15},
                                  &(struct render_opts){0}, &p, NULL),
                     ERR_SYNTAX);
    assert_int_equal(p.w, 7);
}

/* ---- files, jobs */

/* Two frames of 2 by 2. */
static void job_of(struct buf *job, uint16_t samples)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset   *d = dset_new(&a), *lean;
    uint32_t       frames[] = {4, 7};
    const uint16_t two = 2, eight = 8;
    struct bytes   px = {(const uint8_t *)"abcdefghijkl", (size_t)4 * samples};
    put_us(d, DT_Rows, VR_US, &two, 1);
    put_us(d, DT_Columns, VR_US, &two, 1);
    put_us(d, DT_BitsAllocated, VR_US, &eight, 1);
    put_us(d, DT_SamplesPerPixel, VR_US, &samples, 1);
    put(d, DT_PhotometricInterpretation, samples == 1 ? "MONOCHROME2" : "RGB");
    put(d, DT_PatientName, "Nobody");
    assert_int_equal(render_lean(d, frames, 2, &a, &lean, NULL), ERR_OK);
    assert_null(dset_find(lean, DT_PatientName));
    assert_int_equal(render_job_write(job, lean, NULL, NULL), ERR_OK);
    for (size_t n = 0; n < 2; n++) {
        render_job_frame(job, frames[n], (uint32_t)px.len);
        buf_add(job, px);
    }
}

static void a_job_gives_a_file(void **state)
{
    (void)state;

    static const struct {
        enum picture_format f;
        const char         *magic;
        size_t              n;
    } files[] = {
        {PICTURE_JPEG, "\xFF\xD8\xFF", 3}, {PICTURE_PNG, "\x89PNG", 4}, {PICTURE_GIF, "GIF89a", 6}};

    for (size_t k = 0; k < 2 * LEN(files); k++) {
        CLEANUP(buf_done) struct buf job;
        CLEANUP(buf_done) struct buf out;
        buf_init(&job, MEM);
        buf_init(&out, MEM);
        job_of(&job, k % 2 == 0 ? 1 : 3);
        struct errmsg      e = {0};
        struct render_args args = render_args_of(&(struct render_opts){0}, files[k / 2].f);
        struct render_size size = {0};
        args.delay_ms = 40;
        if (render_job_run(&args, (struct bytes){job.ptr, job.len}, NULL, &size, &out, &e) !=
            ERR_OK) {
            fail_msg("%s: %s", picture_media(files[k / 2].f), e.text);
        }
        assert_int_equal(size.w, 2);
        assert_memory_equal(out.ptr, files[k / 2].magic, files[k / 2].n);
    }
}

static void a_job_that_is_none_is_refused(void **state)
{
    (void)state;
    struct render_args           args = render_args_of(&(struct render_opts){0}, PICTURE_PNG);
    struct render_size           size;
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, MEM);
    for (size_t n = 0; n < 9; n++) {
        assert_int_equal(render_job_run(&args,
                                        (struct bytes){(const uint8_t *)"\0\0\0\0\0\0\0\0\0", n},
                                        NULL, &size, &out, NULL),
                         ERR_SYNTAX);
    }
    args.format = PICTURE__COUNT;
    assert_int_equal(render_job_run(&args, (struct bytes){0}, NULL, &size, &out, NULL), ERR_SYNTAX);
}

static void the_pace_of_a_cine_is_found(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, MEM);
    struct dset *d = dset_new(&a);
    assert_int_equal(render_delay_ms(d), 0);
    put(d, DT_FrameTime, "33.3");
    assert_int_equal(render_delay_ms(d), 33);
    put(d, DT_CineRate, "10");
    assert_int_equal(render_delay_ms(d), 100);
    put(d, DT_RecommendedDisplayFrameRate, "20");
    assert_int_equal(render_delay_ms(d), 50);
    put(d, DT_RecommendedDisplayFrameRate, "100000");
    assert_int_equal(render_delay_ms(d), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greys_go_through_the_tables),
        cmocka_unit_test(the_caller_s_window_comes_first),
        cmocka_unit_test(wide_and_floating_pixels_are_shown),
        cmocka_unit_test(stored_bits_may_lie_anywhere),
        cmocka_unit_test(tables_are_used_for_modality_and_voi),
        cmocka_unit_test(functional_groups_are_looked_in_first),
        cmocka_unit_test(colours_become_rgb),
        cmocka_unit_test(palettes_are_looked_up),
        cmocka_unit_test(segments_are_expanded),
        cmocka_unit_test(overlays_are_burned_in),
        cmocka_unit_test(a_state_brings_its_window_shape_and_turn),
        cmocka_unit_test(a_state_for_other_images_is_left_alone),
        cmocka_unit_test(shutters_hide_what_lies_outside),
        cmocka_unit_test(lines_are_drawn_where_the_state_says),
        cmocka_unit_test(views_are_cut_turned_and_scaled),
        cmocka_unit_test(a_frame_cut_short_is_refused),
        cmocka_unit_test(a_job_gives_a_file),
        cmocka_unit_test(a_job_that_is_none_is_refused),
        cmocka_unit_test(the_pace_of_a_cine_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
