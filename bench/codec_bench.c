/*
 * MB/s of native pixels for every codec, both ways, on one core: `ninja -C build codec_bench`, then
 * `build/codec_bench [SECONDS]`.  The frame is 512 by 512, 16 bits, signed, like a CT: smooth
 * shapes and some noise (JPEG baseline: its upper 8 bits).
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "base/num.h"
#include "pixel/codec.h"

enum { SIDE = 512 };

#define UID "1.2.840.10008.1.2"

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void draw(struct buf *out)
{
    uint32_t seed = 2463534242;
    for (int32_t y = 0; y < SIDE; y++) {
        for (int32_t x = 0; x < SIDE; x++) {
            int32_t dx = x - SIDE / 2, dy = y - SIDE / 2, r = dx * dx + dy * dy;
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            int32_t noise = (int32_t)(seed % 24) + (int32_t)(seed >> 8) % 24;
            int32_t v = r > 220 * 220 ? -1000 : r > 200 * 200 ? 700 : 40 + (x * y >> 12);
            buf_u16le(out, (uint16_t)(v + noise));
        }
    }
}

static void upper(struct buf *px, struct image *i)
{
    for (size_t k = 0; k < px->len / 2; k++) {
        int16_t v;
        memcpy(&v, px->ptr + 2 * k, 2);
        px->ptr[k] = (uint8_t)((v + 1024) >> 4);
    }
    px->len /= 2;
    i->allocated = i->stored = 8;
    i->high_bit = 7;
    i->is_signed = false;
}

typedef enum err step(const struct codec_syntax *s, const struct codec_in *in, struct image *ret,
                      struct buf *out, struct errmsg *e);

/* Seconds of one call, the best of as many as fit. */
static double best(step *f, const struct codec_syntax *s, const struct codec_in *in, double seconds,
                   struct image *ret, struct buf *out)
{
    double least = 1e9, all = 0;
    while (all < seconds) {
        struct errmsg e = {0};
        buf_clear(out);
        double t = now();
        if (f(s, in, ret, out, &e) != ERR_OK) {
            (void)printf("%s: %s\n", s->uid, e.text);
            exit(EXIT_FAILURE); // one thread
        }
        t = now() - t;
        all += t;
        least = t < least ? t : least;
    }
    return least;
}

int main(int argc, char **argv)
{
    static const char *const uids[] = {UID ".5",     UID ".4.70",  UID ".4.80", UID ".4.90",
                                       UID ".4.201", UID ".4.202", UID ".4.50"};
    struct image             i = {.cols = SIDE,
                                  .rows = SIDE,
                                  .samples = 1,
                                  .allocated = 16,
                                  .stored = 16,
                                  .high_bit = 15,
                                  .is_signed = true,
                                  .photometric = PHOTO_MONOCHROME2};
    uint32_t                 tenths = 5;
    if (argc > 1 && parse_u32(str_of(argv[1]), &tenths)) {
        tenths *= 10;
    }
    CLEANUP(buf_done) struct buf px, stream, back;
    buf_init(&px, LIMIT_FRAME);
    buf_init(&stream, LIMIT_FRAME);
    buf_init(&back, LIMIT_FRAME);
    draw(&px);
    for (size_t k = 0; k < sizeof(uids) / sizeof(uids[0]); k++) {
        const struct codec_syntax *s = codec_of(str_of(uids[k]));
        if (!s->lossless) {
            upper(&px, &i);
        }
        struct image    coded, got;
        struct codec_in in = {.image = i, .data = {px.ptr, px.len}};
        double          enc = best(codec_encode, s, &in, tenths / 10.0, &coded, &stream);
        struct codec_in from = {.image = coded, .data = {stream.ptr, stream.len}};
        double          dec = best(codec_decode, s, &from, tenths / 10.0, &got, &back);
        (void)printf("%-24s ratio %5.2f  encode %7.1f MB/s  decode %7.1f MB/s\n", s->uid,
                     (double)px.len / (double)stream.len, (double)px.len / enc / 1e6,
                     (double)px.len / dec / 1e6);
    }
    return EXIT_SUCCESS;
}
