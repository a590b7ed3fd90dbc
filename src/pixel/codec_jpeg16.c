/* GDCM's libgdcmjpeg16: lossless JPEG, ITU-T T.81 process 14, every predictor, 2 to 16 bits. */
#include "pixel/codec_priv.h"

// jpeglib.h needs stdio.h in front of it
// clang-format off
#include <stdio.h>
#include <gdcm-3.0/gdcmjpeg/16/jpeglib.h>
#include <gdcm-3.0/gdcmjpeg/16/jerror.h>

// clang-format on

static void samples_out(const JSAMPLE *from, size_t n, const struct image *i, uint8_t bits,
                        uint8_t *to)
{
    row_out(from, n, i, bits, to);
}

static void samples_in(const uint8_t *from, size_t n, const struct image *i, JSAMPLE *to)
{
    row_in(from, n, i, to);
}

#include "pixel/codec_jpeg_write.h"

enum err jpeg16_decode(const struct stream *s, struct image *i, uint8_t *px, struct errmsg *e)
{
    return decode(s, i, false, px, e);
}

static void selection_1(j_compress_ptr c, const struct pixels *p)
{
    jpeg_set_colorspace(c, p->image.samples == 1 ? JCS_GRAYSCALE : c->in_color_space);
    c->write_JFIF_header = FALSE; // of no use: the data set says it all
    c->write_Adobe_marker = FALSE;
    jpeg_simple_lossless(c, 1, 0);
}

enum err jpeg16_encode(const struct pixels *p, struct image *ret, struct buf *out, struct errmsg *e)
{
    (void)ret;
    return encode(p, selection_1, out, e);
}
