#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "pixel/codec.h"
#include "pixel/codec_tool.h"
#include "pixel/stream.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define UID    "1.2.840.10008.1.2"

static const char *const lossless[] = {UID ".5",    UID ".4.57",  UID ".4.70", UID ".4.80",
                                       UID ".4.90", UID ".4.201", UID ".4.202"};

static const struct codec_syntax *syntax(const char *uid)
{
    const struct codec_syntax *s = codec_of(str_of(uid));
    assert_non_null(s);
    return s;
}

/* ---- images ---- */

enum content { SMOOTH, NOISE, FLAT, EXTREMES, CONTENT__COUNT };

static const char *const contents[] = {"smooth", "noise", "flat", "extremes"};

static uint32_t next(uint32_t *seed)
{
    *seed ^= *seed << 13; // xorshift32
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static int32_t sample(const struct image *i, enum content c, uint32_t x, uint32_t y, uint32_t *seed)
{
    int64_t span = INT64_C(1) << i->stored;
    int64_t low = i->is_signed ? -span / 2 : 0;
    switch (c) {
    case NOISE: return (int32_t)(low + (int64_t)(next(seed) % (uint64_t)span));
    case EXTREMES: return (int32_t)(next(seed) % 2 == 0 ? low : low + span - 1);
    case FLAT: return (int32_t)(low + span / 3);
    case SMOOTH:
    case CONTENT__COUNT:
    default:
        return (int32_t)(low + (span / 4 + (int64_t)(x + 2 * y) * span / 4096 +
                                (int64_t)(next(seed) % 3)) %
                                   span);
    }
}

/* Interleaved, little endian. */
static void draw(const struct image *i, enum content c, struct buf *out)
{
    uint32_t seed = 2463534242;
    buf_clear(out);
    for (uint32_t y = 0; y < i->rows; y++) {
        for (uint32_t x = 0; x < i->cols * i->samples; x++) {
            uint32_t v = (uint32_t)sample(i, c, x / i->samples, y, &seed);
            for (unsigned b = 0; b < i->allocated; b += 8) {
                buf_u8(out, (uint8_t)(v >> b));
            }
        }
    }
    assert_int_equal(out->err, ERR_OK);
}

static struct image image_with(uint32_t cols, uint32_t rows, unsigned samples, unsigned allocated,
                               unsigned stored, bool is_signed)
{
    return (struct image){.cols = cols,
                          .rows = rows,
                          .samples = (uint16_t)samples,
                          .allocated = (uint16_t)allocated,
                          .stored = (uint16_t)stored,
                          .high_bit = (uint16_t)(stored - 1),
                          .is_signed = is_signed,
                          .photometric = samples == 3 ? PHOTO_RGB : PHOTO_MONOCHROME2};
}

static struct bytes view(const struct buf *b)
{
    return (struct bytes){b->ptr, b->len};
}

/* There and back; *ret_len: of the stream. */
static void round_trip(const char *uid, const struct image *i, struct bytes px, const char *what,
                       struct buf *stream, struct buf *back)
{
    struct errmsg   e = {0};
    struct image    coded = {0}, got = {0};
    struct codec_in in = {.image = *i, .data = px};
    buf_clear(stream);
    buf_clear(back);
    if (codec_encode(syntax(uid), &in, &coded, stream, &e) != ERR_OK) {
        fail_msg("%s: %s", what, e.text);
    }
    in = (struct codec_in){.image = coded, .data = view(stream)};
    if (codec_decode(syntax(uid), &in, &got, back, &e) != ERR_OK) {
        fail_msg("%s: %s", what, e.text);
    }
    if (!bytes_eq(px, view(back))) {
        fail_msg("%s: other pixels came back", what);
    }
    if (got.photometric != i->photometric || got.cols != i->cols || got.rows != i->rows ||
        got.stored != i->stored || got.allocated != i->allocated || got.planar ||
        got.is_signed != i->is_signed || got.samples != i->samples) {
        fail_msg("%s: another image came back", what);
    }
}

static void lossless_codecs_give_every_pixel_back(void **state)
{
    (void)state;

    static const struct {
        unsigned allocated, stored;
    } bits[] = {{8, 8}, {8, 7}, {8, 2}, {16, 8}, {16, 10}, {16, 12}, {16, 15}, {16, 16}};

    static const struct {
        uint32_t cols, rows;
    } sizes[] = {{1, 1}, {1, 67}, {67, 1}, {2, 3}, {64, 64}, {65, 131}};
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    for (size_t n = 0; n < LEN(bits) * LEN(sizes) * 4 * CONTENT__COUNT; n++) {
        size_t       k = n / (4 * CONTENT__COUNT);
        enum content c = (enum content)(n / 4 % CONTENT__COUNT);
        struct image i =
            image_with(sizes[k % LEN(sizes)].cols, sizes[k % LEN(sizes)].rows, n % 2 == 0 ? 1 : 3,
                       bits[k / LEN(sizes)].allocated, bits[k / LEN(sizes)].stored, n % 4 > 1);
        draw(&i, c, &px);
        for (size_t s = 0; s < LEN(lossless); s++) {
            char what[128];
            (void)snprintf(what, sizeof(what), "%s %ux%ux%u %u of %u bits%s %s", lossless[s],
                           i.cols, i.rows, i.samples, i.stored, i.allocated,
                           i.is_signed ? " signed" : "", contents[c]);
            round_trip(lossless[s], &i, view(&px), what, &stream, &back);
        }
    }
}

static void large_odd_images_come_back_too(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    const struct image images[] = {image_with(513, 511, 1, 16, 16, true),
                                   image_with(513, 511, 1, 16, 12, false),
                                   image_with(513, 511, 3, 8, 8, false)};
    for (size_t k = 0; k < LEN(images); k++) {
        for (enum content c = SMOOTH; c <= NOISE; c++) {
            draw(&images[k], c, &px);
            for (size_t s = 0; s < LEN(lossless); s++) {
                round_trip(lossless[s], &images[k], view(&px), lossless[s], &stream, &back);
                if (c == SMOOTH && stream.len > px.len * 3 / 4 && s > 0) {
                    fail_msg("%s: %zu bytes of %zu", lossless[s], stream.len, px.len);
                }
            }
        }
    }
}

/* ---- what the two sides disagree about ---- */

static void colours_keep_their_names(void **state)
{
    (void)state;

    static const struct {
        const char      *uid;
        enum photometric in, coded, out;
    } cases[] = {
        {UID ".5", PHOTO_RGB, PHOTO_RGB, PHOTO_RGB},
        {UID ".5", PHOTO_YBR_FULL, PHOTO_YBR_FULL, PHOTO_YBR_FULL},
        {UID ".4.70", PHOTO_RGB, PHOTO_RGB, PHOTO_RGB},
        {UID ".4.70", PHOTO_YBR_FULL, PHOTO_YBR_FULL, PHOTO_YBR_FULL},
        {UID ".4.80", PHOTO_YBR_FULL, PHOTO_YBR_FULL, PHOTO_YBR_FULL},
        {UID ".4.90", PHOTO_RGB, PHOTO_YBR_RCT, PHOTO_RGB},
        {UID ".4.90", PHOTO_YBR_FULL, PHOTO_YBR_FULL, PHOTO_YBR_FULL},
        {UID ".4.202", PHOTO_RGB, PHOTO_YBR_RCT, PHOTO_RGB},
        {UID ".4.202", PHOTO_YBR_FULL, PHOTO_YBR_FULL, PHOTO_YBR_FULL},
        {UID ".4.50", PHOTO_RGB, PHOTO_YBR_FULL_422, PHOTO_RGB},
        {UID ".4.50", PHOTO_YBR_FULL, PHOTO_YBR_FULL_422, PHOTO_RGB},
    };
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    for (size_t k = 0; k < LEN(cases); k++) {
        struct image i = image_with(20, 30, 3, 8, 8, false), coded, got;
        i.photometric = cases[k].in;
        draw(&i, SMOOTH, &px);
        buf_clear(&stream);
        buf_clear(&back);
        struct codec_in in = {.image = i, .data = view(&px)};
        assert_int_equal(codec_encode(syntax(cases[k].uid), &in, &coded, &stream, NULL), ERR_OK);
        assert_int_equal(coded.photometric, cases[k].coded);
        in = (struct codec_in){.image = coded, .data = view(&stream)};
        assert_int_equal(codec_decode(syntax(cases[k].uid), &in, &got, &back, NULL), ERR_OK);
        assert_int_equal(got.photometric, cases[k].out);
        assert_int_equal(back.len, px.len);
        if (syntax(cases[k].uid)->lossless) {
            assert_memory_equal(back.ptr, px.ptr, px.len);
        }
    }
}

static void planes_are_mixed_before_they_are_coded(void **state)
{
    (void)state;
    struct image                 i = image_with(2, 2, 3, 8, 8, false), coded, got;
    const uint8_t                planes[] = {1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24};
    const uint8_t                mixed[] = {1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24};
    CLEANUP(buf_done) struct buf stream, back;
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    i.planar = true;
    for (size_t s = 0; s < LEN(lossless); s++) {
        struct codec_in in = {.image = i, .data = {planes, sizeof(planes)}};
        buf_clear(&stream);
        buf_clear(&back);
        assert_int_equal(codec_encode(syntax(lossless[s]), &in, &coded, &stream, NULL), ERR_OK);
        assert_false(coded.planar);
        in = (struct codec_in){.image = coded, .data = view(&stream)};
        in.image.planar = true; // of no meaning there
        assert_int_equal(codec_decode(syntax(lossless[s]), &in, &got, &back, NULL), ERR_OK);
        assert_false(got.planar);
        assert_int_equal(back.len, sizeof(mixed));
        assert_memory_equal(back.ptr, mixed, sizeof(mixed));
    }
}

static void halved_chroma_is_given_to_both_pixels(void **state)
{
    (void)state;
    struct image  i = image_with(3, 2, 3, 8, 8, false), coded, got;
    const uint8_t halved[] = {1, 2, 101, 201, 3, 0, 102, 202, 4, 5, 103, 203, 6, 0, 104, 204};
    const uint8_t whole[] = {1, 101, 201, 2, 101, 201, 3, 102, 202,
                             4, 103, 203, 5, 103, 203, 6, 104, 204};
    CLEANUP(buf_done) struct buf stream, back;
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    i.photometric = PHOTO_YBR_FULL_422;
    struct codec_in in = {.image = i, .data = {halved, sizeof(halved)}};
    assert_int_equal(codec_encode(syntax(UID ".5"), &in, &coded, &stream, NULL), ERR_OK);
    assert_int_equal(coded.photometric, PHOTO_YBR_FULL);
    in = (struct codec_in){.image = coded, .data = view(&stream)};
    assert_int_equal(codec_decode(syntax(UID ".5"), &in, &got, &back, NULL), ERR_OK);
    assert_int_equal(back.len, sizeof(whole));
    assert_memory_equal(back.ptr, whole, sizeof(whole));
}

static void the_data_set_keeps_its_bits_where_the_stream_has_fewer(void **state)
{
    (void)state;
    static const char *const     uids[] = {UID ".4.70", UID ".4.80", UID ".4.90", UID ".4.202"};
    struct image                 i = image_with(33, 7, 1, 8, 8, false), coded, got;
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    draw(&i, NOISE, &px);
    for (size_t s = 0; s < LEN(uids); s++) {
        buf_clear(&stream);
        struct codec_in in = {.image = i, .data = view(&px)};
        assert_int_equal(codec_encode(syntax(uids[s]), &in, &coded, &stream, NULL), ERR_OK);
        for (unsigned allocated = 16; allocated <= 32; allocated += 16) {
            for (unsigned is_signed = 0; is_signed < 2; is_signed++) {
                buf_clear(&back);
                in = (struct codec_in){.image = image_with(33, 7, 1, allocated, 10, is_signed),
                                       .data = view(&stream)};
                assert_int_equal(codec_decode(syntax(uids[s]), &in, &got, &back, NULL), ERR_OK);
                assert_int_equal(got.allocated, allocated);
                assert_int_equal(got.stored, 10);
                assert_int_equal(back.len, px.len * allocated / 8);
                for (size_t k = 0; k < px.len; k++) {
                    int v = is_signed ? (int8_t)px.ptr[k] : px.ptr[k];
                    int low = back.ptr[k * allocated / 8] | back.ptr[k * allocated / 8 + 1] << 8;
                    assert_int_equal((int16_t)low, v);
                }
            }
        }
        buf_clear(&back);
        in.image = image_with(33, 7, 1, 1, 1, false);
        assert_int_equal(codec_decode(syntax(uids[s]), &in, &got, &back, NULL), ERR_OK);
        assert_int_equal(got.allocated, 8); // and the stream has its own where it has more
        assert_int_equal(got.stored, 8);
        assert_memory_equal(back.ptr, px.ptr, px.len);
    }
}

static void what_does_not_agree_with_the_data_set_is_refused(void **state)
{
    (void)state;
    struct image                 i = image_with(20, 30, 1, 16, 12, false), coded, got;
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    draw(&i, NOISE, &px);
    for (size_t s = 1; s < LEN(lossless); s++) {
        const struct codec_syntax *sx = syntax(lossless[s]);
        buf_clear(&stream);
        buf_clear(&back);
        struct codec_in in = {.image = i, .data = view(&px)};
        assert_int_equal(codec_encode(sx, &in, &coded, &stream, NULL), ERR_OK);
        in =
            (struct codec_in){.image = image_with(20, 31, 1, 16, 12, false), .data = view(&stream)};
        assert_int_equal(codec_decode(sx, &in, &got, &back, NULL), ERR_SYNTAX);
        in.image = image_with(20, 30, 3, 16, 12, false);
        assert_int_equal(codec_decode(sx, &in, &got, &back, NULL), ERR_SYNTAX);
        assert_int_equal(back.len, 0);
        in.image = image_with(30, 20, 1, 16, 12, false); // turned round in the data set
        assert_int_equal(codec_decode(sx, &in, &got, &back, NULL), ERR_OK);
        assert_int_equal(got.cols, 20);
        assert_int_equal(got.rows, 30);
        assert_memory_equal(back.ptr, px.ptr, px.len);
    }
}

static void what_cannot_be_written_is_said_in_words(void **state)
{
    (void)state;

    static const struct {
        const char  *what, *uid;
        struct image i;
        enum err     want;
        const char  *words;
    } cases[] = {
        {"16 bits in JPEG baseline",
         UID ".4.50",
         {.samples = 1, .allocated = 16, .stored = 12, .high_bit = 11},
         ERR_UNSUPPORTED,
         "8 bits"},
        {"signed in JPEG baseline",
         UID ".4.50",
         {.samples = 1, .allocated = 8, .stored = 8, .high_bit = 7, .is_signed = true},
         ERR_UNSUPPORTED,
         "sign"},
        {"palette in JPEG baseline",
         UID ".4.50",
         {.samples = 1, .allocated = 8, .stored = 8, .high_bit = 7, .photometric = PHOTO_PALETTE},
         ERR_UNSUPPORTED,
         "palette"},
        {"32 bits in JPEG 2000",
         UID ".4.90",
         {.samples = 1, .allocated = 32, .stored = 32, .high_bit = 31},
         ERR_UNSUPPORTED,
         "32 bits"},
        {"1 bit in HTJ2K",
         UID ".4.202",
         {.samples = 1, .allocated = 1, .stored = 1},
         ERR_UNSUPPORTED,
         "1 bits"},
        {"stored bits at the top",
         UID ".4.80",
         {.samples = 1, .allocated = 16, .stored = 12, .high_bit = 15},
         ERR_UNSUPPORTED,
         "lowest"},
        {"bits in use besides",
         UID ".4.80",
         {.samples = 1, .allocated = 16, .stored = 12, .high_bit = 11},
         ERR_UNSUPPORTED,
         "overlay"},
        {"floats",
         UID ".4.80",
         {.samples = 1, .allocated = 32, .stored = 32, .high_bit = 31, .kind = SAMPLE_FLOAT},
         ERR_UNSUPPORTED,
         "floating"},
        {"JPEG 2000 with loss",
         UID ".4.91",
         {.samples = 1, .allocated = 8, .stored = 8, .high_bit = 7},
         ERR_UNSUPPORTED,
         "written"},
        {"32 bit colour needs 12 segments",
         UID ".5",
         {.samples = 3, .allocated = 32, .stored = 32, .high_bit = 31, .photometric = PHOTO_RGB},
         ERR_OK,
         ""},
        {"64 bit doubles need 8",
         UID ".5",
         {.samples = 1, .allocated = 64, .kind = SAMPLE_DOUBLE},
         ERR_UNSUPPORTED,
         "floating"},
        {"a frame cut short",
         UID ".4.80",
         {.samples = 3,
          .allocated = 16,
          .stored = 16,
          .high_bit = 15,
          .photometric = PHOTO_RGB,
          .cols = 1000},
         ERR_SYNTAX,
         "bytes"},
    };

    static uint8_t               px[16 * 16 * 12];
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_FRAME);
    memset(px, 0x7F, sizeof(px));
    for (size_t k = 0; k < LEN(cases); k++) {
        struct image    got = {0};
        struct errmsg   e = {0};
        struct codec_in in = {.image = cases[k].i, .data = {px, sizeof(px)}};
        in.image.rows = 16;
        in.image.cols = in.image.cols == 0 ? 16 : in.image.cols;
        buf_clear(&out);
        enum err rc = codec_encode(syntax(cases[k].uid), &in, &got, &out, &e);
        if (rc != cases[k].want || strstr(e.text, cases[k].words) == NULL) {
            fail_msg("%s: %s %s", cases[k].what, err_name(rc), e.text);
        }
        assert_true(rc == ERR_OK || out.len == 0);
    }
}

/* ---- broken streams ---- */

static void a_stream_cut_short_fails_everywhere(void **state)
{
    (void)state;
    struct image                 i = image_with(61, 47, 1, 16, 12, false), coded, got;
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    draw(&i, NOISE, &px);
    for (size_t s = 0; s < LEN(lossless); s++) {
        const struct codec_syntax *sx = syntax(lossless[s]);
        struct codec_in            in = {.image = i, .data = view(&px)};
        buf_clear(&stream);
        assert_int_equal(codec_encode(sx, &in, &coded, &stream, NULL), ERR_OK);
        for (size_t n = 0; n + 16 < stream.len; n = n < 300 ? n + 1 : n + 97) {
            struct errmsg e = {0};
            in = (struct codec_in){.image = coded, .data = {stream.ptr, n}};
            buf_clear(&back);
            buf_str(&back, STR("before"));
            enum err rc = codec_decode(sx, &in, &got, &back, &e);
            if (rc == ERR_OK || e.text[0] == 0 || back.len != 6) {
                fail_msg("%s cut at %zu of %zu: %s %s", lossless[s], n, stream.len, err_name(rc),
                         e.text);
            }
        }
    }
}

static void a_buffer_without_room_is_a_limit(void **state)
{
    (void)state;
    struct image                 i = image_with(61, 47, 1, 16, 12, false), coded, got;
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    draw(&i, NOISE, &px);
    for (size_t s = 0; s < LEN(lossless); s++) {
        const struct codec_syntax *sx = syntax(lossless[s]);
        struct codec_in            in = {.image = i, .data = view(&px)};
        buf_clear(&stream);
        assert_int_equal(codec_encode(sx, &in, &coded, &stream, NULL), ERR_OK);
        for (size_t max = 10; max < 2000; max += 500) {
            struct errmsg e = {0};
            buf_init(&back, max);
            enum err rc = codec_encode(sx, &in, &got, &back, &e);
            if (rc != ERR_LIMIT && rc != ERR_NOMEM) {
                fail_msg("%s into %zu: %s %s", lossless[s], max, err_name(rc), e.text);
            }
            assert_int_equal(back.len, 0);
            buf_done(&back);
        }
        buf_init(&back, px.len - 1);
        in = (struct codec_in){.image = coded, .data = view(&stream)};
        assert_int_equal(codec_decode(sx, &in, &got, &back, NULL), ERR_LIMIT);
        buf_done(&back);
    }
}

/* PS3.5 G.3 and G.4, by hand. */
static void rle_segments_are_read_to_the_letter(void **state)
{
    (void)state;

    static const struct {
        const char *what;
        uint32_t    head[3]; // segments, two offsets
        const char *segment; // from byte 64
        size_t      len;
        enum err    want;
    } cases[] = {
        {"a literal and a run", {1, 64}, "\1\1\2\376\3", 5, ERR_OK},
        {"nothing is said by -128", {1, 64}, "\200\1\1\2\200\376\3", 7, ERR_OK},
        {"padding behind", {1, 64}, "\1\1\2\376\3\0", 6, ERR_OK},
        {"a run longer than the image", {1, 64}, "\1\1\2\200\375\3", 6, ERR_OK},
        {"no segment", {0, 64}, "\1\1\2\376\3", 5, ERR_SYNTAX},
        {"two segments", {2, 64, 66}, "\1\1\2\376\3", 5, ERR_SYNTAX},
        {"many segments", {0x80000001, 64}, "\1\1\2\376\3", 5, ERR_SYNTAX},
        {"a segment in the header", {1, 63}, "\1\1\2\376\3", 5, ERR_SYNTAX},
        {"a segment behind the end", {1, 70}, "\1\1\2\376\3", 5, ERR_SYNTAX},
        {"a literal cut short", {1, 64}, "\4\1\2\3\3", 4, ERR_SYNTAX},
        {"a run without its byte", {1, 64}, "\1\1\2\376", 4, ERR_SYNTAX},
        {"pixels missing", {1, 64}, "\1\1\2\377\3", 5, ERR_SYNTAX},
        {"an empty segment", {1, 64}, "", 0, ERR_SYNTAX},
    };

    const uint8_t                want[] = {1, 2, 3, 3, 3};
    struct image                 i = image_with(5, 1, 1, 8, 8, false), got;
    CLEANUP(buf_done) struct buf in, out;
    buf_init(&in, 1000);
    buf_init(&out, 1000);
    for (size_t k = 0; k < LEN(cases); k++) {
        buf_clear(&in);
        buf_clear(&out);
        for (size_t n = 0; n < 16; n++) {
            buf_u32le(&in, n < 3 ? cases[k].head[n] : 0);
        }
        buf_add(&in, (struct bytes){(const uint8_t *)cases[k].segment, cases[k].len});
        struct codec_in c = {.image = i, .data = view(&in)};
        enum err        rc = codec_decode(syntax(UID ".5"), &c, &got, &out, NULL);
        if (rc != cases[k].want || (rc == ERR_OK && memcmp(out.ptr, want, sizeof(want)) != 0)) {
            fail_msg("%s: %s", cases[k].what, err_name(rc));
        }
    }
    struct codec_in c = {.image = i, .data = {in.ptr, 63}};
    assert_int_equal(codec_decode(syntax(UID ".5"), &c, &got, &out, NULL), ERR_SYNTAX);
}

static void rle_rows_are_coded_one_by_one(void **state)
{
    (void)state;
    struct image                 i = image_with(4, 2, 1, 8, 8, false), got;
    const uint8_t                px[] = {7, 7, 7, 7, 7, 7, 7, 7};
    const uint8_t                want[] = {253, 7, 253, 7};
    struct codec_in              in = {.image = i, .data = {px, sizeof(px)}};
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(codec_encode(syntax(UID ".5"), &in, &got, &out, NULL), ERR_OK);
    assert_int_equal(out.len, 64 + sizeof(want));
    assert_memory_equal(out.ptr + 64, want, sizeof(want)); // G.3.1: no run crosses a row
}

/* ---- heads ---- */

static void jpeg_heads_tell_the_kind(void **state)
{
    (void)state;
#define SOF(n)    "\xFF" n "\0\13\10\0\2\0\3\1\1\x11\0"
#define SOF_12(n) "\xFF" n "\0\13\14\0\2\0\3\1\1\x11\0"
#define COLOUR(f) "\xFF\xC0\0\x11\10\0\2\0\3\3\1" f "\0\2\x11\0\3\x11\0"
#define JFIF      "\xFF\xE0\0\7JFIF\0"
#define ADOBE(t)                                                                                   \
    "\xFF\xEE\0\16"                                                                                \
    "Adobe\0\144\0\0\0\0" t

    static const struct {
        const char      *what, *in;
        size_t           len;
        enum err         want;
        enum stream_kind kind;
        bool             ycc, rgb;
    } cases[] = {

#define C(s) "\xFF\xD8" s, sizeof("\xFF\xD8" s) - 1
        {"baseline", C(SOF("\xC0")), ERR_OK, STREAM_JPEG_DCT, false, false},
        {"extended of 12 bits", C(SOF_12("\xC1")), ERR_OK, STREAM_JPEG_DCT, false, false},
        {"progressive", C(SOF("\xC2")), ERR_OK, STREAM_JPEG_DCT, false, false},
        {"lossless", C(SOF("\xC3")), ERR_OK, STREAM_JPEG_LOSSLESS, false, false},
        {"JPEG-LS", C(SOF("\xF7")), ERR_OK, STREAM_JPEG_LS, false, false},
        {"hierarchical", C(SOF("\xC5")), ERR_UNSUPPORTED, 0, false, false},
        {"arithmetic", C(SOF("\xC9")), ERR_UNSUPPORTED, 0, false, false},
        {"fill bytes", C("\xFF\xFF\xFF" SOF("\xC0")), ERR_OK, STREAM_JPEG_DCT, false, false},
        {"tables before", C("\xFF\xC4\0\4ab" SOF("\xC0")), ERR_OK, STREAM_JPEG_DCT, false, false},
        {"colour of no name", C(COLOUR("\x11")), ERR_OK, STREAM_JPEG_DCT, false, false},
        {"JFIF", C(JFIF COLOUR("\x11")), ERR_OK, STREAM_JPEG_DCT, true, false},
        {"Adobe RGB", C(ADOBE("\0") COLOUR("\x11")), ERR_OK, STREAM_JPEG_DCT, false, true},
        {"Adobe YCC", C(ADOBE("\1") COLOUR("\x11")), ERR_OK, STREAM_JPEG_DCT, true, false},
        {"halved chroma", C(COLOUR("\x21")), ERR_OK, STREAM_JPEG_DCT, true, false},
        {"scan before frame", C("\xFF\xDA\0\2" SOF("\xC0")), ERR_SYNTAX, 0, false, false},
        {"end at once", C("\xFF\xD9"), ERR_SYNTAX, 0, false, false},
        {"no marker", C("abc"), ERR_SYNTAX, 0, false, false},
        {"segment of one byte", C("\xFF\xE0\0\1" SOF("\xC0")), ERR_SYNTAX, 0, false, false},
        {"segment beyond the end", C("\xFF\xE0\1\1" SOF("\xC0")), ERR_SYNTAX, 0, false, false},
        {"no rows yet", C("\xFF\xC0\0\13\10\0\0\0\3\1\1\x11\0"), ERR_UNSUPPORTED, 0, false, false},
        {"no columns", C("\xFF\xC0\0\13\10\0\2\0\0\1\1\x11\0"), ERR_SYNTAX, 0, false, false},
        {"components missing", C("\xFF\xC0\0\13\10\0\2\0\3\3\1\x11\0"), ERR_SYNTAX, 0, false,
         false},
        {"nothing", "", 0, ERR_SYNTAX, 0, false, false},
    };
    for (size_t k = 0; k < LEN(cases); k++) {
        struct stream s = {0};
        struct errmsg e = {0};
        enum err rc = jpeg_head((struct bytes){(const uint8_t *)cases[k].in, cases[k].len}, &s, &e);
        if (rc != cases[k].want || (rc != ERR_OK && e.text[0] == 0) ||
            (rc == ERR_OK && (s.kind != cases[k].kind || s.ycc != cases[k].ycc ||
                              s.rgb != cases[k].rgb || s.cols != 3 || s.rows != 2))) {
            fail_msg("%s: %s %s", cases[k].what, err_name(rc), e.text);
        }
    }
}

/* The codestream of a small image, in UID ".4.202" or another. */
static void code_small(const char *uid, uint32_t cols, uint32_t rows, struct buf *out)
{
    struct image                 i = image_with(cols, rows, 1, 16, 12, true), coded;
    CLEANUP(buf_done) struct buf px;
    buf_init(&px, LIMIT_FRAME);
    draw(&i, SMOOTH, &px);
    struct codec_in in = {.image = i, .data = view(&px)};
    buf_clear(out);
    assert_int_equal(codec_encode(syntax(uid), &in, &coded, out, NULL), ERR_OK);
}

static size_t find(const struct buf *b, uint16_t marker)
{
    for (size_t k = 2; k + 3 < b->len; k += 2U + (size_t)(b->ptr[k + 2] << 8 | b->ptr[k + 3])) {
        if (b->ptr[k] == marker >> 8 && b->ptr[k + 1] == (marker & 0xFF)) {
            return k;
        }
        if (b->ptr[k + 1] == 0x90) { // SOT
            break;
        }
    }
    return 0;
}

static void rpcl_streams_keep_the_constraints_of_the_standard(void **state)
{
    (void)state;

    static const struct {
        uint32_t cols, rows, levels;
    } sizes[] = {{64, 64, 5}, {512, 512, 5}, {2048, 3000, 5}, {2049, 3000, 6}, {5000, 200, 5}};
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_FRAME);
    for (size_t k = 0; k < LEN(sizes); k++) {
        code_small(UID ".4.202", sizes[k].cols, sizes[k].rows, &b);
        size_t cod = find(&b, 0xFF52), tlm = find(&b, 0xFF55), sot = find(&b, 0xFF90);
        assert_true(cod > 0 && tlm > cod && sot == tlm + 12);
        assert_int_equal(b.ptr[cod + 5], 2); // RPCL
        assert_int_equal(b.ptr[cod + 9], sizes[k].levels);
        assert_int_equal(b.ptr[cod + 10], 4); // 64
        assert_int_equal(b.ptr[cod + 11], 4);
        assert_memory_equal(b.ptr + tlm + 8, b.ptr + sot + 6, 4); // the length of the tile-part
        assert_int_equal(b.ptr[b.len - 2] << 8 | b.ptr[b.len - 1], 0xFFD9);
    }
    code_small(UID ".4.201", 64, 64, &b);
    assert_int_equal(find(&b, 0xFF55), 0);
}

static void a_tlm_marker_is_for_one_tile_part(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_FRAME);
    code_small(UID ".4.201", 64, 64, &b);
    size_t len = b.len, sot = find(&b, 0xFF90);
    b.ptr[sot + 9]--; // shorter than it is
    assert_int_equal(j2k_add_tlm(&b, 0, NULL), ERR_UNSUPPORTED);
    assert_int_equal(b.len, len);
    memset(b.ptr + sot + 6, 0, 4); // up to the end
    assert_int_equal(j2k_add_tlm(&b, 0, NULL), ERR_OK);
    assert_int_equal(b.len, len + 12);
    b.len = sot; // without any
    assert_int_equal(j2k_add_tlm(&b, 0, NULL), ERR_SYNTAX);
    b.len = 0;
    assert_int_equal(j2k_add_tlm(&b, 0, NULL), ERR_SYNTAX);
    assert_int_equal(j2k_add_tlm(&b, 1, NULL), ERR_SYNTAX);
}

static void a_codestream_in_a_jp2_file_is_found(void **state)
{
    (void)state;
    static const uint8_t         boxes[] = "\0\0\0\14jP  \r\n\207\n\0\0\0\x0Cjp2hxxxx";
    struct stream                s, bare;
    CLEANUP(buf_done) struct buf b, jp2;
    buf_init(&b, LIMIT_FRAME);
    buf_init(&jp2, LIMIT_FRAME);
    code_small(UID ".4.90", 64, 32, &b);
    buf_add(&jp2, (struct bytes){boxes, sizeof(boxes) - 1});
    buf_u32be(&jp2, 0); // to the end
    buf_str(&jp2, STR("jp2c"));
    buf_add(&jp2, view(&b));
    assert_int_equal(j2k_head(view(&b), 9, &bare, NULL), ERR_OK);
    assert_int_equal(j2k_head(view(&jp2), 9, &s, NULL), ERR_OK);
    assert_true(bytes_eq(s.data, view(&b)));
    assert_int_equal(s.kind, STREAM_J2K);
    assert_int_equal(s.cols, 64);
    assert_int_equal(s.rows, 32);
    assert_int_equal(s.bits, 12);
    assert_true(s.is_signed);
    assert_int_equal(s.levels, 5);
    assert_int_equal(s.reduce, 5);
    assert_int_equal(s.out_cols, 2);
    for (size_t n = 0; n < jp2.len - b.len; n++) {
        assert_int_equal(j2k_head((struct bytes){jp2.ptr, n}, 0, &s, NULL), ERR_SYNTAX);
    }
}

static void smaller_resolutions_are_decoded(void **state)
{
    (void)state;
    static const char *const     uids[] = {UID ".4.90", UID ".4.201", UID ".4.202"};
    CLEANUP(buf_done) struct buf stream, out;
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&out, LIMIT_FRAME);
    for (size_t k = 0; k < LEN(uids); k++) {
        code_small(uids[k], 513, 511, &stream);
        for (uint32_t r = 0; r < 8; r++) {
            struct codec_opts o = {.reduce = r};
            struct image      got;
            struct codec_in   in = {
                  .image = image_with(513, 511, 1, 16, 12, true), .data = view(&stream), .opts = &o};
            uint32_t by = r < 5 ? r : 5; // as far as there are
            buf_clear(&out);
            assert_int_equal(codec_decode(syntax(uids[k]), &in, &got, &out, NULL), ERR_OK);
            assert_int_equal(got.cols, (513 + (1U << by) - 1) >> by);
            assert_int_equal(got.rows, (511 + (1U << by) - 1) >> by);
            assert_int_equal(out.len, (size_t)got.cols * got.rows * 2);
        }
    }
}

static void baseline_is_near_enough_and_smaller_when_asked(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf px, fine, coarse, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&fine, LIMIT_FRAME);
    buf_init(&coarse, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    for (unsigned samples = 1; samples <= 3; samples += 2) {
        struct image i = image_with(101, 67, samples, 8, 8, false), coded, got;
        draw(&i, SMOOTH, &px);
        struct codec_opts o = {.quality = 30};
        struct codec_in   in = {.image = i, .data = view(&px), .opts = &o};
        buf_clear(&fine);
        buf_clear(&coarse);
        buf_clear(&back);
        assert_int_equal(codec_encode(syntax(UID ".4.50"), &in, &coded, &coarse, NULL), ERR_OK);
        in.opts = NULL;
        assert_int_equal(codec_encode(syntax(UID ".4.50"), &in, &coded, &fine, NULL), ERR_OK);
        assert_true(coarse.len < fine.len);
        in = (struct codec_in){.image = coded, .data = view(&fine)};
        assert_int_equal(codec_decode(syntax(UID ".4.50"), &in, &got, &back, NULL), ERR_OK);
        assert_int_equal(back.len, px.len);
        uint64_t sum = 0;
        for (size_t k = 0; k < px.len; k++) {
            int d = px.ptr[k] - back.ptr[k];
            sum += (uint64_t)(d * d);
        }
        assert_true(sum / px.len < 16);
    }
}

static void syntaxes_are_known_by_their_uid(void **state)
{
    (void)state;
    assert_null(codec_of(STR(UID ".4.102"))); // video
    assert_null(codec_of(STR("")));
    assert_int_equal(syntax(UID ".4.202")->codec, CODEC_HTJ2K);
    assert_true(syntax(UID ".4.202")->lossless);
    assert_false(syntax(UID ".4.203")->lossless);
    assert_false(syntax(UID ".4.50")->lossless);
    assert_int_equal(syntax(UID ".1")->codec, CODEC_NATIVE);
}

static void native_frames_are_passed_on(void **state)
{
    (void)state;
    struct image                 i = image_with(2, 2, 1, 8, 8, false), got;
    const uint8_t                px[] = {1, 2, 3, 4, 0};
    struct codec_in              in = {.image = i, .data = {px, 5}};
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 100);
    assert_int_equal(codec_decode(syntax(UID ".1"), &in, &got, &out, NULL), ERR_OK);
    assert_int_equal(out.len, 4);
    in.data.len = 3;
    assert_int_equal(codec_encode(syntax(UID ".1"), &in, &got, &out, NULL), ERR_SYNTAX);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return codec_tool(argc, argv); // for tests/e2e/codecs.py
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lossless_codecs_give_every_pixel_back),
        cmocka_unit_test(large_odd_images_come_back_too),
        cmocka_unit_test(colours_keep_their_names),
        cmocka_unit_test(planes_are_mixed_before_they_are_coded),
        cmocka_unit_test(halved_chroma_is_given_to_both_pixels),
        cmocka_unit_test(the_data_set_keeps_its_bits_where_the_stream_has_fewer),
        cmocka_unit_test(what_does_not_agree_with_the_data_set_is_refused),
        cmocka_unit_test(what_cannot_be_written_is_said_in_words),
        cmocka_unit_test(a_stream_cut_short_fails_everywhere),
        cmocka_unit_test(a_buffer_without_room_is_a_limit),
        cmocka_unit_test(rle_segments_are_read_to_the_letter),
        cmocka_unit_test(rle_rows_are_coded_one_by_one),
        cmocka_unit_test(jpeg_heads_tell_the_kind),
        cmocka_unit_test(rpcl_streams_keep_the_constraints_of_the_standard),
        cmocka_unit_test(a_tlm_marker_is_for_one_tile_part),
        cmocka_unit_test(a_codestream_in_a_jp2_file_is_found),
        cmocka_unit_test(smaller_resolutions_are_decoded),
        cmocka_unit_test(baseline_is_near_enough_and_smaller_when_asked),
        cmocka_unit_test(syntaxes_are_known_by_their_uid),
        cmocka_unit_test(native_frames_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
