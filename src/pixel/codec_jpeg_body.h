#pragma once
/*
 * The part of codec_jpeg8.c, codec_jpeg12.c and codec_jpeg16.c that is the same: their libraries
 * have one interface, but each its own header, which must be included before this.  Errors come
 * back by longjmp, the library's way: nothing that runs in between owns anything but what the
 * library frees.
 */
#include <setjmp.h>

#include "pixel/codec_priv.h"

struct job {
    struct jpeg_error_mgr err; // first: this is what the library hands around
    jmp_buf               back;
    enum err              code;
    char                  why[JMSG_LENGTH_MAX];
};

static void stop(j_common_ptr c)
{
    struct job *j = (struct job *)(void *)c->err;
    c->err->format_message(c, j->why);
    j->code = c->err->msg_code == JERR_OUT_OF_MEMORY ? ERR_NOMEM : ERR_SYNTAX;
    longjmp(j->back, 1);
}

/* Pixels that the library made up are no pixels: a damaged stream fails. */
static void warn(j_common_ptr c, int level)
{
    int code = c->err->msg_code;
    if (level < 0 &&
        (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC)) {
        stop(c);
    }
}

static void say_nothing(j_common_ptr c)
{
    (void)c;
}

static struct jpeg_error_mgr *errors(struct job *j)
{
    (void)jpeg_std_error(&j->err);
    j->err.error_exit = stop;
    j->err.emit_message = warn;
    j->err.output_message = say_nothing;
    return &j->err;
}

/* ---- decoding ---- */

static void source_nothing(j_decompress_ptr c)
{
    (void)c;
}

static boolean source_fill(j_decompress_ptr c)
{
    static const JOCTET eoi[] = {0xFF, 0xD9}; // streams without an end of image are common
    c->src->next_input_byte = eoi;
    c->src->bytes_in_buffer = sizeof(eoi);
    return TRUE;
}

static void source_skip(j_decompress_ptr c, long n)
{
    size_t k = n < 0 ? 0 : (size_t)n;
    k = k < c->src->bytes_in_buffer ? k : c->src->bytes_in_buffer;
    c->src->next_input_byte += k;
    c->src->bytes_in_buffer -= k;
}

static void read_rows(j_decompress_ptr c, const struct image *i, uint8_t bits, uint8_t *px)
{
    size_t   n = row_samples(i);
    JSAMPROW row = NULL;
    if (sizeof(JSAMPLE) != sample_bytes(i) || bits < i->allocated) {
        row = c->mem->alloc_large((j_common_ptr)c, JPOOL_IMAGE, n * sizeof(JSAMPLE));
    }
    for (size_t y = 0; y < i->rows; y++, px += row_bytes(i)) {
        JSAMPROW to = row != NULL ? row : (JSAMPROW)(void *)px;
        if (jpeg_read_scanlines(c, &to, 1) != 1) {
            ERREXIT(c, JERR_INPUT_EOF);
        }
        if (row != NULL) {
            samples_out(row, n, i, bits, px);
        }
    }
}

static void decode_rows(j_decompress_ptr c, const struct stream *s, struct image *i, bool dct,
                        uint8_t *px)
{
    (void)jpeg_read_header(c, TRUE);
    if (c->image_width != s->cols || c->image_height != s->rows ||
        c->num_components != s->samples) { // a second frame header
        ERREXIT(c, JERR_SOF_DUPLICATE);
    }
    bool ycc = s->ycc || (!s->rgb && i->photometric != PHOTO_RGB);
    if (!dct) {
        c->jpeg_color_space = c->out_color_space = JCS_UNKNOWN;
    } else if (s->samples == 1) {
        c->jpeg_color_space = c->out_color_space = JCS_GRAYSCALE;
    } else {
        c->jpeg_color_space = ycc ? JCS_YCbCr : JCS_RGB;
        c->out_color_space = JCS_RGB;
        i->photometric = PHOTO_RGB;
    }
    (void)jpeg_start_decompress(c);
    if (c->output_width != i->cols || c->output_height != i->rows ||
        c->output_components != i->samples) {
        ERREXIT(c, JERR_BAD_PRECISION);
    }
    read_rows(c, i, s->bits, px);
    (void)jpeg_finish_decompress(c);
}

static enum err decode(const struct stream *s, struct image *i, bool dct, uint8_t *px,
                       struct errmsg *e)
{
    struct job                    j = {0};
    struct jpeg_decompress_struct c = {0};
    struct jpeg_source_mgr        src = {.next_input_byte = s->data.ptr,
                                         .bytes_in_buffer = s->data.len,
                                         .init_source = source_nothing,
                                         .fill_input_buffer = source_fill,
                                         .skip_input_data = source_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = source_nothing};
    c.err = errors(&j);
    if (setjmp(j.back) != 0) {
        jpeg_destroy_decompress(&c);
        return err_set(e, j.code, "JPEG: %s", j.why);
    }
    jpeg_create_decompress(&c);
    c.src = &src;
    decode_rows(&c, s, i, dct, px);
    jpeg_destroy_decompress(&c);
    return ERR_OK;
}
