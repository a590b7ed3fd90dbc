#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cur.h"
#include "base/limits.h"
#include "pixel/codec.h"
#include "pixel/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UID "1.2.840.10008.1.2"

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

/* Five bytes of attributes. */
static struct image image_from(struct cur *c)
{
    static const uint16_t allocated[] = {8, 16, 32, 1};
    struct image          i = {.cols = cur_u8(c), .rows = cur_u8(c)};
    uint8_t               kind = cur_u8(c);
    i.allocated = allocated[kind & 3];
    i.samples = (kind & 4) != 0 && i.allocated > 1 ? 3 : 1;
    i.is_signed = (kind & 8) != 0;
    i.planar = (kind & 16) != 0 && i.samples == 3;
    i.photometric = (enum photometric)(cur_u8(c) % PHOTO__COUNT);
    i.stored = (uint16_t)(cur_u8(c) % i.allocated + 1);
    i.high_bit = (uint16_t)(i.stored - 1);
    if (i.photometric == PHOTO_YBR_FULL_422 && (i.samples != 3 || i.allocated != 8)) {
        i.photometric = PHOTO_RGB;
    }
    return i;
}

static void check_decode(const struct codec_syntax *s, const struct codec_in *in)
{
    struct image                 got = {0};
    struct errmsg                e = {0};
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 16 << 20);
    enum err rc = codec_decode(s, in, &got, &out, &e);
    size_t   n = 0;
    if (rc == ERR_OK) {
        must(image_bytes(&got, &n, NULL) == ERR_OK && n == out.len,
             "all bytes of a frame, and no more");
        must(s->codec == CODEC_NATIVE || !got.planar, "nothing comes out in planes");
    } else {
        must(out.len == 0 && e.text[0] != 0, "an error leaves nothing but its text");
    }
}

/* What is coded by us comes back. */
static void check_rle(const struct codec_in *in)
{
    const struct codec_syntax   *s = codec_of(STR(UID ".5"));
    struct image                 coded, got;
    CLEANUP(buf_done) struct buf stream, back;
    buf_init(&stream, 16 << 20);
    buf_init(&back, 16 << 20);
    if (codec_encode(s, in, &coded, &stream, NULL) != ERR_OK) {
        return;
    }
    struct codec_in again = {.image = coded, .data = {stream.ptr, stream.len}};
    must(codec_decode(s, &again, &got, &back, NULL) == ERR_OK, "our own RLE can be read");
    if (!in->image.planar && in->image.photometric != PHOTO_YBR_FULL_422) {
        must(back.len <= in->data.len && memcmp(back.ptr, in->data.ptr, back.len) == 0,
             "RLE gives every byte back");
    }
}

static void check_heads(struct bytes in, uint32_t reduce)
{
    struct stream                s = {0};
    struct errmsg                e = {0};
    CLEANUP(buf_done) struct buf b;
    if (jpeg_head(in, &s, &e) == ERR_OK) {
        must(s.cols > 0 && s.rows > 0 && s.samples > 0 && s.bits > 0, "a JPEG image has pixels");
    } else {
        must(e.text[0] != 0, "errors have a text");
    }
    e = (struct errmsg){0};
    if (j2k_head(in, reduce, &s, &e) == ERR_OK) {
        must(s.cols > 0 && s.rows > 0 && s.samples > 0, "a JPEG 2000 image has pixels");
        must(s.out_cols <= s.cols && s.out_rows <= s.rows, "reducing makes no image larger");
        must(s.data.len <= in.len && s.reduce <= s.levels, "a codestream lies in the input");
    } else {
        must(e.text[0] != 0, "errors have a text");
    }
    buf_init(&b, 1 << 20);
    buf_add(&b, in);
    if (j2k_add_tlm(&b, 0, NULL) == ERR_OK) {
        must(b.len == in.len + 12, "a TLM marker has 12 bytes");
    }
}

/* First byte: what is done, or, with GARONNE_FUZZ_CODECS in the environment, the syntax.  The
 * libraries' decoders have their own bugs, which the walls around garonne-pixel are for: only what
 * is ours is fuzzed without that word. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const syntaxes[] = {UID ".5",    UID ".4.50", UID ".4.70",
                                           UID ".4.80", UID ".4.90", UID ".4.202"};
    struct cur               c = cur_of((struct bytes){data, size});
    uint8_t                  head = cur_u8(&c);
    struct codec_opts        o = {.reduce = head >> 6};
    struct codec_in          in = {.image = image_from(&c), .opts = &o};
    if (c.err != ERR_OK) {
        return 0;
    }
    in.data = cur_bytes(&c, cur_left(&c));
    if (getenv("GARONNE_FUZZ_CODECS") != NULL) { // one thread
        check_decode(codec_of(str_of(syntaxes[head % 6])), &in);
        return 0;
    }
    if (head % 4 == 0) {
        check_decode(codec_of(STR(UID ".5")), &in);
    } else if (head % 4 == 1) {
        check_rle(&in);
    } else if (head % 4 == 2) {
        check_decode(codec_of(STR(UID)), &in);
    } else {
        check_heads(in.data, o.reduce);
    }
    return 0;
}
