#pragma once
/*
 * What the codecs share.  Each codec_X.c wraps one library, whose calls appear nowhere else.
 */
#include "pixel/codec.h"
#include "pixel/stream.h"

/* Native pixels as every encoder takes them: interleaved, no 4:2:2, stored bits at the bottom and
 * nothing else in the samples but their sign. */
struct pixels {
    struct image   image;
    const uint8_t *px;
    uint32_t       quality, levels; // defaults filled in
    bool           rpcl;            // HTJ2K: with the constraints of PS3.5 10.18
};

/* Decoders write a whole frame of *i (of codec_fit) to px; they may change the photometric
 * interpretation. */
typedef enum err codec_decoder(const struct stream *s, struct image *i, uint8_t *px,
                               struct errmsg *e);
/* Encoders append; ret is a copy of p->image, of which they change what their stream is. */
typedef enum err codec_encoder(const struct pixels *p, struct image *ret, struct buf *out,
                               struct errmsg *e);

codec_decoder jpeg8_decode;  // DCT, 8 bits
codec_decoder jpeg12_decode; // DCT, 12 bits
codec_decoder jpeg16_decode; // lossless, any precision
codec_decoder jls_decode;
codec_decoder j2k_decode;
codec_decoder htj2k_decode;

codec_encoder rle_encode;
codec_encoder jpeg8_encode;
codec_encoder jpeg16_encode;
codec_encoder jls_encode;
codec_encoder j2k_encode;
codec_encoder htj2k_encode;

/* PS3.5 annex G.  px: image_bytes of i, which is not planar. */
enum err rle_decode(struct bytes in, const struct image *i, uint8_t *px, struct errmsg *e) MUST_USE;

/* One row of n samples, all of them in the lower `bits`, as memory wants it; and back, without the
 * sign above the stored bits. */
void row_out(const uint16_t *from, size_t n, const struct image *i, uint8_t bits, uint8_t *to);
void row_in(const uint8_t *from, size_t n, const struct image *i, uint16_t *to);
/* The same for samples with their sign, which may have to lose it. */
void row_out_i32(const int32_t *from, size_t n, const struct image *i, uint8_t bits, uint8_t *to);
void row_in_i32(const uint8_t *from, size_t n, const struct image *i, int32_t *to);

static inline size_t sample_bytes(const struct image *i)
{
    return i->allocated / 8U;
}

static inline size_t row_samples(const struct image *i)
{
    return (size_t)i->cols * i->samples;
}

static inline size_t row_bytes(const struct image *i)
{
    return row_samples(i) * sample_bytes(i);
}
