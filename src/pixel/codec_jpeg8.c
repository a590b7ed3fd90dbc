/* libjpeg-turbo: JPEG of 8 bits, ITU-T T.81 processes 1, 2 and progressive. */
#include "pixel/codec_priv.h"

// jpeglib.h needs stdio.h in front of it
// clang-format off
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>

// clang-format on

static void samples_out(const JSAMPLE *from, size_t n, const struct image *i, uint8_t bits,
                        uint8_t *to)
{
    if (i->allocated == 8) {
        memcpy(to, from, n);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        uint16_t v = from[k];
        row_out(&v, 1, i, bits, to + k * sample_bytes(i));
    }
}

static void samples_in(const uint8_t *from, size_t n, const struct image *i, JSAMPLE *to)
{
    (void)i;
    memcpy(to, from, n);
}

#include "pixel/codec_jpeg_write.h"

enum err jpeg8_decode(const struct stream *s, struct image *i, uint8_t *px, struct errmsg *e)
{
    return decode(s, i, true, px, e);
}

static void baseline(j_compress_ptr c, const struct pixels *p)
{
    jpeg_set_quality(c, (int)p->quality, TRUE);
    if (p->image.samples == 3) { // PS3.5 8.2.1: what YBR_FULL_422 means there
        c->comp_info[0].h_samp_factor = 2;
        c->comp_info[0].v_samp_factor = 1;
    }
}

enum err jpeg8_encode(const struct pixels *p, struct image *ret, struct buf *out, struct errmsg *e)
{
    enum photometric ph = p->image.photometric;
    if (p->image.samples == 3 && ph != PHOTO_RGB && ph != PHOTO_YBR_FULL) {
        struct str name = photometric_name(ph);
        return err_set(e, ERR_UNSUPPORTED, "JPEG baseline of %.*s", STR_ARG(name));
    }
    ret->photometric = p->image.samples == 3 ? PHOTO_YBR_FULL_422 : ph;
    return encode(p, baseline, out, e);
}
