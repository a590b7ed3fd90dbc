/* GDCM's libgdcmjpeg12: JPEG of 12 bits, ITU-T T.81 process 4 and its progressive kin. */
#include "pixel/codec_priv.h"

// jpeglib.h needs stdio.h in front of it
// clang-format off
#include <stdio.h>
#include <gdcm-3.0/gdcmjpeg/12/jpeglib.h>
#include <gdcm-3.0/gdcmjpeg/12/jerror.h>

// clang-format on

static void samples_out(const JSAMPLE *from, size_t n, const struct image *i, uint8_t bits,
                        uint8_t *to)
{
    row_out((const uint16_t *)from, n, i, bits, to); // 0 to 4095
}

#include "pixel/codec_jpeg_body.h"

enum err jpeg12_decode(const struct stream *s, struct image *i, uint8_t *px, struct errmsg *e)
{
    return decode(s, i, true, px, e);
}
