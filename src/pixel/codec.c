#include "pixel/codec.h"

#include <inttypes.h>

#include "base/limits.h"
#include "base/num.h"
#include "pixel/codec_priv.h"

enum { QUALITY = 90, LEVELS = 5, THUMBNAIL = 64, LEVELS_MAX = 32 };

#define UID "1.2.840.10008.1.2"

static const struct codec_syntax syntaxes[] = {
    {UID, CODEC_NATIVE, true, true},
    {UID ".1", CODEC_NATIVE, true, true},
    {UID ".1.98", CODEC_NATIVE, true, true}, // encapsulated
    {UID ".1.99", CODEC_NATIVE, true, true},
    {UID ".2", CODEC_NATIVE, true, true},
    {UID ".5", CODEC_RLE, true, true},
    {UID ".4.50", CODEC_JPEG, false, true},
    {UID ".4.51", CODEC_JPEG, false, false},
    {UID ".4.52", CODEC_JPEG, false, false}, // retired ones from here
    {UID ".4.53", CODEC_JPEG, false, false},
    {UID ".4.54", CODEC_JPEG, false, false},
    {UID ".4.55", CODEC_JPEG, false, false},
    {UID ".4.56", CODEC_JPEG, false, false}, // to here
    {UID ".4.57", CODEC_JPEG, true, true},
    {UID ".4.70", CODEC_JPEG, true, true},
    {UID ".4.80", CODEC_JPEG_LS, true, true},
    {UID ".4.81", CODEC_JPEG_LS, false, false},
    {UID ".4.90", CODEC_J2K, true, true},
    {UID ".4.91", CODEC_J2K, false, false},
    {UID ".4.201", CODEC_HTJ2K, true, true},
    {UID ".4.202", CODEC_HTJ2K, true, true},
    {UID ".4.203", CODEC_HTJ2K, false, false},
};

const struct codec_syntax *codec_of(struct str syntax_uid)
{
    for (size_t i = 0; i < sizeof(syntaxes) / sizeof(syntaxes[0]); i++) {
        if (str_eq(syntax_uid, str_of(syntaxes[i].uid))) {
            return &syntaxes[i];
        }
    }
    return NULL;
}

/* ---- samples ---- */

void row_out(const uint16_t *from, size_t n, const struct image *i, uint8_t bits, uint8_t *to)
{
    unsigned sign = i->is_signed && bits < i->allocated && bits > 0 ? 1U << (bits - 1) : 0;
    if (i->allocated == 8) {
        for (size_t k = 0; k < n; k++) {
            to[k] = (uint8_t)((from[k] ^ sign) - sign);
        }
    } else if (i->allocated == 16) {
        for (size_t k = 0; k < n; k++) {
            uint16_t v = (uint16_t)((from[k] ^ sign) - sign);
            memcpy(to + 2 * k, &v, 2);
        }
    } else {
        for (size_t k = 0; k < n; k++) {
            uint32_t v = (from[k] ^ sign) - sign;
            memcpy(to + 4 * k, &v, 4);
        }
    }
}

void row_in(const uint8_t *from, size_t n, const struct image *i, uint16_t *to)
{
    unsigned mask = (1U << i->stored) - 1;
    if (i->allocated == 8) {
        for (size_t k = 0; k < n; k++) {
            to[k] = (uint16_t)(from[k] & mask);
        }
        return;
    }
    for (size_t k = 0; k < n; k++) {
        uint16_t v;
        memcpy(&v, from + 2 * k, 2);
        to[k] = (uint16_t)(v & mask);
    }
}

void row_out_i32(const int32_t *from, size_t n, const struct image *i, uint8_t bits, uint8_t *to)
{
    /* Streams that are unsigned where the data set is not: the bits are what was meant. */
    uint32_t sign = i->is_signed && bits < i->allocated && bits > 0 ? 1U << (bits - 1) : 0;
    uint32_t mask = bits < 32 ? (1U << bits) - 1 : UINT32_MAX;
    size_t   width = sample_bytes(i);
    if (width == 1) {
        for (size_t k = 0; k < n; k++) {
            to[k] = (uint8_t)((((uint32_t)from[k] & mask) ^ sign) - sign);
        }
    } else if (width == 2) {
        for (size_t k = 0; k < n; k++) {
            uint16_t v = (uint16_t)((((uint32_t)from[k] & mask) ^ sign) - sign);
            memcpy(to + 2 * k, &v, 2);
        }
    } else {
        for (size_t k = 0; k < n; k++) {
            uint32_t v = (((uint32_t)from[k] & mask) ^ sign) - sign;
            memcpy(to + 4 * k, &v, 4);
        }
    }
}

void row_in_i32(const uint8_t *from, size_t n, const struct image *i, int32_t *to)
{
    if (i->allocated == 8) {
        for (size_t k = 0; k < n; k++) {
            to[k] = i->is_signed ? (int8_t)from[k] : from[k];
        }
    } else if (i->is_signed) {
        for (size_t k = 0; k < n; k++) {
            int16_t v;
            memcpy(&v, from + 2 * k, 2);
            to[k] = v;
        }
    } else {
        for (size_t k = 0; k < n; k++) {
            uint16_t v;
            memcpy(&v, from + 2 * k, 2);
            to[k] = v;
        }
    }
}

static enum err check_size(const struct image *i, struct errmsg *e)
{
    return i->cols > 0 && i->rows > 0 && i->samples > 0
               ? ERR_OK
               : err_set(e, ERR_SYNTAX, "an image without pixels");
}

/* ---- decoding ---- */

/* What comes out of stream s that the data set describes as *said. */
static enum err fit(const struct image *said, const struct stream *s, struct image *ret,
                    struct errmsg *e)
{
    if (said->kind != SAMPLE_INT) {
        return err_set(e, ERR_UNSUPPORTED, "floating point pixels are never compressed so");
    }
    if (s->samples != said->samples) {
        return err_set(e, ERR_SYNTAX, "a stream of %u samples a pixel, the data set says %u",
                       s->samples, said->samples);
    }
    if ((uint64_t)s->cols * s->rows != (uint64_t)said->cols * said->rows) {
        return err_set(e, ERR_SYNTAX,
                       "a stream of %" PRIu32 "×%" PRIu32 " pixels, the data set says %" PRIu32
                       "×%" PRIu32,
                       s->cols, s->rows, said->cols, said->rows);
    }
    if (s->bits > 32) {
        return err_set(e, ERR_UNSUPPORTED, "samples of %u bits", s->bits);
    }
    struct image i = *said;
    i.cols = s->out_cols;
    i.rows = s->out_rows;
    i.planar = false;
    if (s->bits > i.allocated || i.allocated == 1) {
        i.allocated = s->bits <= 8 ? 8 : s->bits <= 16 ? 16 : 32;
        i.stored = s->bits;
    }
    i.high_bit = (uint16_t)(i.stored - 1);
    if (i.photometric == PHOTO_YBR_FULL_422 || i.photometric == PHOTO_YBR_PARTIAL_420) {
        i.photometric = PHOTO_YBR_FULL;
    }
    *ret = i;
    return ERR_OK;
}

static enum err decode_stream(const struct image *said, const struct stream *s, struct image *ret,
                              struct buf *out, struct errmsg *e)
{
    codec_decoder *const decoders[STREAM__COUNT] = {
        [STREAM_JPEG_DCT] = s->bits == 8 ? jpeg8_decode : jpeg12_decode,
        [STREAM_JPEG_LOSSLESS] = jpeg16_decode,
        [STREAM_JPEG_LS] = jls_decode,
        [STREAM_J2K] = j2k_decode,
        /* OpenJPH 0.9.0 gives wrong pixels where a tile is halved beyond one pixel; the other
         * library reads all of it, at half the speed. */
        [STREAM_HTJ2K] = s->plain ? htj2k_decode : j2k_decode,
    };
    if (s->kind == STREAM_JPEG_DCT && s->bits != 8 && s->bits != 12) {
        return err_set(e, ERR_SYNTAX, "a JPEG stream of %u bits", s->bits);
    }
    struct image i;
    size_t       n;
    enum err     rc = fit(said, s, &i, e);
    rc = rc == ERR_OK ? image_bytes(&i, &n, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    uint8_t *px = buf_grow(out, n);
    if (px == NULL) {
        return err_set(e, out->err, "no room for a frame of %zu bytes", n);
    }
    rc = decoders[s->kind](s, &i, px, e);
    *ret = rc == ERR_OK ? i : *ret;
    return rc;
}

static enum err decode_plain(const struct codec_syntax *s, const struct codec_in *in,
                             struct image *ret, struct buf *out, struct errmsg *e)
{
    struct image i = in->image;
    if (s->codec == CODEC_RLE) {
        i.planar = false;
        i.photometric = i.photometric == PHOTO_YBR_FULL_422 ? PHOTO_YBR_FULL : i.photometric;
    }
    size_t   n;
    enum err rc = check_size(&i, e);
    rc = rc == ERR_OK ? image_bytes(&i, &n, e) : rc;
    if (rc == ERR_OK && s->codec == CODEC_NATIVE && in->data.len < n) {
        rc = err_set(e, ERR_SYNTAX, "a frame of %zu bytes, %zu are there", n, in->data.len);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    uint8_t *px = buf_grow(out, n);
    if (px == NULL) {
        return err_set(e, out->err, "no room for a frame of %zu bytes", n);
    }
    if (s->codec == CODEC_RLE) {
        rc = rle_decode(in->data, &i, px, e);
    } else {
        memcpy(px, in->data.ptr, n);
    }
    *ret = rc == ERR_OK ? i : *ret;
    return rc;
}

enum err codec_decode(const struct codec_syntax *s, const struct codec_in *in, struct image *ret,
                      struct buf *out, struct errmsg *e)
{
    size_t        at = out->len;
    uint32_t      reduce = in->opts == NULL ? 0 : in->opts->reduce;
    struct stream stream = {0};
    enum err      rc;
    switch (s->codec) {
    case CODEC_JPEG:
    case CODEC_JPEG_LS: rc = jpeg_head(in->data, &stream, e); break;
    case CODEC_J2K:
    case CODEC_HTJ2K: rc = j2k_head(in->data, reduce, &stream, e); break;
    case CODEC_NATIVE:
    case CODEC_RLE:
    case CODEC__COUNT:
    default:
        rc = decode_plain(s, in, ret, out, e);
        if (rc != ERR_OK) {
            out->len = at;
        }
        return rc;
    }
    rc = rc == ERR_OK ? decode_stream(&in->image, &stream, ret, out, e) : rc;
    if (rc != ERR_OK) {
        out->len = at;
    }
    return rc;
}

/* ---- encoding ---- */

/* Samples between pixels instead of planes, PS3.3 C.7.6.3.1.3. */
static void interleave(const struct image *i, const uint8_t *from, uint8_t *to)
{
    size_t width = sample_bytes(i), pixels = (size_t)i->cols * i->rows;
    for (size_t s = 0; s < i->samples; s++) {
        const uint8_t *p = from + s * pixels * width;
        uint8_t       *q = to + s * width;
        for (size_t k = 0; k < pixels; k++) {
            memcpy(q, p, width);
            p += width;
            q += width * i->samples;
        }
    }
}

/* PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr, of 8 bits. */
static void expand_422(const struct image *i, const uint8_t *from, uint8_t *to)
{
    for (uint32_t y = 0; y < i->rows; y++) {
        for (uint32_t x = 0; x < i->cols; x++) {
            const uint8_t *p = from + (size_t)(x / 2) * 4;
            *to++ = p[x % 2];
            *to++ = p[2];
            *to++ = p[3];
        }
        from += ((size_t)i->cols + 1) / 2 * 4;
    }
}

/* Nothing above the stored bits but the sign, or 0: else decoding would not give the same back. */
static bool is_clean(const struct image *i, const uint8_t *px, size_t n)
{
    if (i->stored == i->allocated) {
        return true;
    }
    unsigned sign = i->is_signed ? 1U << (i->stored - 1) : 0;
    unsigned bad = 0;
    unsigned above = ~((1U << i->stored) - 1);
    if (i->allocated == 8) {
        for (size_t k = 0; k < n; k++) {
            bad |= ((i->is_signed ? (unsigned)(int8_t)px[k] : px[k]) + sign) & above;
        }
        return bad == 0;
    }
    for (size_t k = 0; k < n / 2; k++) {
        uint16_t v;
        memcpy(&v, px + 2 * k, 2);
        bad |= ((i->is_signed ? (unsigned)(int16_t)v : v) + sign) & above;
    }
    return bad == 0;
}

static enum err check_encode(const struct codec_syntax *s, const struct image *i, struct errmsg *e)
{
    bool lossy = !s->lossless;
    if (!s->encodes) {
        return err_set(e, ERR_UNSUPPORTED, "nothing is written in %s", s->uid);
    }
    if (i->kind != SAMPLE_INT) {
        return err_set(e, ERR_UNSUPPORTED, "floating point pixels cannot be compressed");
    }
    if (s->codec == CODEC_RLE) {
        return ERR_OK; // bytes are bytes
    }
    if (i->allocated != 8 && i->allocated != 16) {
        return err_set(e, ERR_UNSUPPORTED, "pixels of %u bits do not fit %s", i->allocated, s->uid);
    }
    if (i->stored == 0 || i->stored > i->allocated || i->high_bit + 1 != i->stored) {
        return err_set(e, ERR_UNSUPPORTED, "the %u stored bits are not the lowest ones", i->stored);
    }
    if (lossy && i->allocated != 8) {
        return err_set(e, ERR_UNSUPPORTED, "JPEG baseline has 8 bits, these pixels have %u",
                       i->stored);
    }
    if (lossy && (i->is_signed || i->stored != 8)) {
        return err_set(e, ERR_UNSUPPORTED, "JPEG baseline has 8 bits without a sign");
    }
    if (lossy && i->photometric == PHOTO_PALETTE) {
        return err_set(e, ERR_UNSUPPORTED, "lossy compression would ruin palette colours");
    }
    return ERR_OK;
}

/* Decompositions until one pixel is left, at most: see decode_stream. */
static uint32_t levels_at_most(const struct image *i, uint32_t n)
{
    uint32_t side = i->cols > i->rows ? i->cols : i->rows;
    uint32_t most = 0;
    while (most < LEVELS_MAX && (side - 1) >> most > 0) {
        most++;
    }
    return n < most ? n : most;
}

/* Enough decompositions for a side of at most 64 pixels, PS3.5 10.18. */
static uint32_t levels_for(const struct image *i, uint32_t n)
{
    uint32_t side = i->cols < i->rows ? i->cols : i->rows;
    while (n < LEVELS_MAX && ((uint64_t)side + (1ULL << n) - 1) >> n > THUMBNAIL) {
        n++;
    }
    return n;
}

/* *p from the native frame, in tmp where it must be another one. */
static enum err prepare(const struct codec_syntax *s, const struct codec_in *in, struct pixels *p,
                        struct buf *tmp, struct errmsg *e)
{
    static const struct codec_opts none = {0};
    const struct codec_opts       *o = in->opts == NULL ? &none : in->opts;
    const struct image            *i = &in->image;
    size_t                         had, n;
    *p = (struct pixels){.image = *i, .px = in->data.ptr};
    p->quality = o->quality == 0 ? QUALITY : o->quality > 100 ? 100 : o->quality;
    p->rpcl = str_eq(str_of(s->uid), STR(UID ".4.202"));
    uint32_t levels = o->levels == 0 ? LEVELS : o->levels;
    p->levels = levels_at_most(i, p->rpcl ? levels_for(i, levels) : levels);
    p->image.planar = false;
    bool halved = i->photometric == PHOTO_YBR_FULL_422;
    p->image.photometric = halved ? PHOTO_YBR_FULL : i->photometric;
    enum err rc = check_size(i, e);
    rc = rc == ERR_OK ? check_encode(s, i, e) : rc;
    rc = rc == ERR_OK ? image_bytes(i, &had, e) : rc;
    rc = rc == ERR_OK ? image_bytes(&p->image, &n, e) : rc;
    if (rc == ERR_OK && in->data.len < had) {
        rc = err_set(e, ERR_SYNTAX, "a frame of %zu bytes, %zu are there", had, in->data.len);
    }
    if (rc == ERR_OK && halved && (i->samples != 3 || i->allocated != 8)) {
        rc = err_set(e, ERR_UNSUPPORTED, "YBR_FULL_422 with %u bits allocated", i->allocated);
    }
    if (rc != ERR_OK || !(halved || i->planar)) {
        return rc;
    }
    uint8_t *px = buf_grow(tmp, n);
    if (px == NULL) {
        return err_set(e, tmp->err, "no memory for a frame of %zu bytes", n);
    }
    if (halved) {
        expand_422(&p->image, in->data.ptr, px);
    } else {
        interleave(&p->image, in->data.ptr, px);
    }
    p->px = px;
    return ERR_OK;
}

static enum err encode(const struct codec_syntax *s, const struct pixels *p, struct image *ret,
                       struct buf *out, struct errmsg *e)
{
    static codec_encoder *const encoders[CODEC__COUNT] = {
        [CODEC_RLE] = rle_encode,     [CODEC_JPEG_LS] = jls_encode, [CODEC_J2K] = j2k_encode,
        [CODEC_HTJ2K] = htj2k_encode, [CODEC_JPEG] = jpeg16_encode,
    };
    size_t   n;
    enum err rc = image_bytes(&p->image, &n, e);
    if (rc == ERR_OK && s->codec != CODEC_RLE && !is_clean(&p->image, p->px, n)) {
        rc = err_set(e, ERR_UNSUPPORTED,
                     "bits besides the %u stored ones are in use (an overlay, or padding)",
                     p->image.stored);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    return (s->lossless ? encoders[s->codec] : jpeg8_encode)(p, ret, out, e);
}

enum err codec_encode(const struct codec_syntax *s, const struct codec_in *in, struct image *ret,
                      struct buf *out, struct errmsg *e)
{
    if (s->codec == CODEC_NATIVE) {
        return codec_decode(s, in, ret, out, e);
    }
    size_t                       at = out->len;
    struct pixels                p;
    CLEANUP(buf_done) struct buf tmp;
    buf_init(&tmp, LIMIT_FRAME);
    enum err     rc = prepare(s, in, &p, &tmp, e);
    struct image i = p.image;
    rc = rc == ERR_OK ? encode(s, &p, &i, out, e) : rc;
    if (rc == ERR_OK && out->err != ERR_OK) {
        rc = err_set(e, out->err, "no room for the compressed frame");
    }
    if (rc != ERR_OK) {
        out->len = at;
        return rc;
    }
    *ret = i;
    return ERR_OK;
}
