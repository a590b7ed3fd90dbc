#pragma once
/*
 * The other half of codec_jpeg_body.h, for the two libraries that we encode with.
 */
#include "pixel/codec_jpeg_body.h"

enum { PIECE = 64 << 10 };

struct sink {
    struct jpeg_destination_mgr mgr; // first
    struct buf                 *out;
};

static boolean sink_more(j_compress_ptr c)
{
    struct sink *s = (struct sink *)(void *)c->dest;
    uint8_t     *p = buf_grow(s->out, PIECE);
    if (p == NULL) {
        ERREXIT1(c, JERR_OUT_OF_MEMORY, 0);
    }
    c->dest->next_output_byte = p;
    c->dest->free_in_buffer = PIECE;
    return TRUE;
}

static void sink_begin(j_compress_ptr c)
{
    (void)sink_more(c);
}

static void sink_end(j_compress_ptr c)
{
    struct sink *s = (struct sink *)(void *)c->dest;
    s->out->len -= c->dest->free_in_buffer;
}

static void write_rows(j_compress_ptr c, const struct image *i, const uint8_t *px)
{
    size_t   n = row_samples(i);
    JSAMPROW row = c->mem->alloc_large((j_common_ptr)c, JPOOL_IMAGE, n * sizeof(JSAMPLE));
    for (size_t y = 0; y < i->rows; y++, px += row_bytes(i)) {
        samples_in(px, n, i, row);
        (void)jpeg_write_scanlines(c, &row, 1);
    }
}

/* Of the frame header.  The library of 16 bits takes no other precision to begin with, but looks at
 * it again for the header and the first predictor: tests/e2e/codecs.py has others read the result.
 */
static int precision(const struct pixels *p)
{
    return p->image.stored < 2 ? 2 : p->image.stored;
}

/* How a codec wants its stream: called when all defaults are set. */
typedef void setup_encoder(j_compress_ptr c, const struct pixels *p);

static void encode_rows(j_compress_ptr c, const struct pixels *p, setup_encoder *setup)
{
    c->image_width = p->image.cols;
    c->image_height = p->image.rows;
    c->input_components = p->image.samples;
    c->in_color_space = p->image.samples == 1               ? JCS_GRAYSCALE
                        : p->image.photometric == PHOTO_RGB ? JCS_RGB
                                                            : JCS_YCbCr;
    jpeg_set_defaults(c);
    setup(c, p);
    jpeg_start_compress(c, TRUE);
    c->data_precision = precision(p);
    write_rows(c, &p->image, p->px);
    jpeg_finish_compress(c);
}

static enum err encode(const struct pixels *p, setup_encoder *setup, struct buf *out,
                       struct errmsg *e)
{
    struct job                  j = {0};
    struct jpeg_compress_struct c = {0};
    struct sink                 sink = {.mgr = {.init_destination = sink_begin,
                                                .empty_output_buffer = sink_more,
                                                .term_destination = sink_end},
                                        .out = out};
    c.err = errors(&j);
    if (setjmp(j.back) != 0) {
        jpeg_destroy_compress(&c);
        return err_set(e, out->err != ERR_OK ? out->err : j.code, "JPEG: %s", j.why);
    }
    jpeg_create_compress(&c);
    c.dest = &sink.mgr;
    encode_rows(&c, p, setup);
    jpeg_destroy_compress(&c);
    return ERR_OK;
}
