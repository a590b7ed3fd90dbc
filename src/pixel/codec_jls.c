/* CharLS: JPEG-LS, ITU-T T.87. */
#include <charls/charls.h>

#include "base/limits.h"
#include "base/num.h"
#include "pixel/codec_priv.h"

static enum err failed(charls_jpegls_errc rc, struct errmsg *e)
{
    enum err code = rc == CHARLS_JPEGLS_ERRC_NOT_ENOUGH_MEMORY ? ERR_NOMEM : ERR_SYNTAX;
    return err_set(e, code, "JPEG-LS: %s", charls_get_error_message(rc));
}

/* Planes to pixels, when the scans hold one component each. */
static void mix(const uint8_t *from, const struct image *i, size_t width, uint8_t *to)
{
    size_t pixels = (size_t)i->cols * i->rows;
    for (size_t s = 0; s < i->samples; s++) {
        for (size_t k = 0; k < pixels; k++) {
            memcpy(to + (k * i->samples + s) * width, from, width);
            from += width;
        }
    }
}

/* From what the library gives (8 or 16 bits, perhaps in planes) to *i. */
static void finish(uint8_t *raw, size_t width, bool planes, const struct stream *s,
                   const struct image *i, uint8_t *px)
{
    size_t n = row_samples(i) * i->rows;
    if (planes) {
        mix(raw, i, width, px);
        if (width == sample_bytes(i) && !i->is_signed) {
            return;
        }
        memcpy(raw, px, n * width);
    }
    for (size_t k = n; k-- > 0;) { // backwards: px may be raw
        uint16_t v = raw[k];
        if (width == 2) {
            memcpy(&v, raw + 2 * k, 2);
        }
        row_out(&v, 1, i, s->bits, px + k * sample_bytes(i));
    }
}

static charls_jpegls_errc read_all(charls_jpegls_decoder *d, const struct stream *s, uint8_t *to,
                                   size_t n, charls_interleave_mode *ret_mode)
{
    charls_jpegls_errc rc = charls_jpegls_decoder_set_source_buffer(d, s->data.ptr, s->data.len);
    size_t             want = 0;
    rc = rc == 0 ? charls_jpegls_decoder_read_header(d) : rc;
    rc = rc == 0 ? charls_jpegls_decoder_get_interleave_mode(d, ret_mode) : rc;
    rc = rc == 0 ? charls_jpegls_decoder_get_destination_size(d, 0, &want) : rc;
    if (rc == 0 && want != n) {
        return CHARLS_JPEGLS_ERRC_DUPLICATE_START_OF_FRAME_MARKER;
    }
    rc = rc == 0 ? charls_jpegls_decoder_decode_to_buffer(d, to, n, 0) : rc;
    /* All pixels of the only scan are out, and a byte too many stands before the end of image: some
     * devices do that. */
    bool one_scan = s->samples == 1 || *ret_mode != CHARLS_INTERLEAVE_MODE_NONE;
    return rc == CHARLS_JPEGLS_ERRC_JPEG_MARKER_START_BYTE_NOT_FOUND && one_scan ? 0 : rc;
}

static bool ends_with_eoi(struct bytes b)
{
    return b.len >= 2 && b.ptr[b.len - 2] == 0xFF && b.ptr[b.len - 1] == 0xD9;
}

/* The library goes round for ever in a stream that was cut off: the end of image must be there, but
 * for padding (FF is what T.87 fills with; DCMTK 3.6.7 makes an odd length even with whatever byte
 * was in its memory). */
static bool is_ended(struct bytes b)
{
    if (b.len > 2 && ends_with_eoi((struct bytes){b.ptr, b.len - 1})) {
        return true;
    }
    while (b.len > 0 && (b.ptr[b.len - 1] == 0 || b.ptr[b.len - 1] == 0xFF)) {
        b.len--;
    }
    return ends_with_eoi(b);
}

enum err jls_decode(const struct stream *s, struct image *i, uint8_t *px, struct errmsg *e)
{
    size_t                       width = s->bits > 8 ? 2 : 1;
    size_t                       n = row_samples(i) * i->rows * width;
    charls_interleave_mode       mode = CHARLS_INTERLEAVE_MODE_NONE;
    bool                         direct = i->samples == 1 && width <= sample_bytes(i);
    CLEANUP(buf_done) struct buf tmp;
    buf_init(&tmp, LIMIT_FRAME);
    if (s->bits > 16 || s->bits < 2) {
        return err_set(e, ERR_SYNTAX, "JPEG-LS of %u bits", s->bits);
    }
    if (!is_ended(s->data)) {
        return err_set(e, ERR_SYNTAX, "JPEG-LS: the stream is cut off");
    }
    uint8_t *raw = direct ? px : buf_grow(&tmp, n);
    if (raw == NULL) {
        return err_set(e, tmp.err, "no memory for a JPEG-LS frame");
    }
    charls_jpegls_decoder *d = charls_jpegls_decoder_create();
    if (d == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the JPEG-LS decoder");
    }
    charls_jpegls_errc rc = read_all(d, s, raw, n, &mode);
    charls_jpegls_decoder_destroy(d);
    if (rc != 0) {
        return failed(rc, e);
    }
    bool planes = i->samples > 1 && mode == CHARLS_INTERLEAVE_MODE_NONE;
    bool as_is = width == sample_bytes(i) && (!i->is_signed || s->bits == i->allocated);
    if (!direct && as_is && !planes) {
        memcpy(px, raw, n);
    } else if (!as_is || planes) {
        finish(raw, width, planes, s, i, px);
    }
    return ERR_OK;
}

static charls_jpegls_errc write_all(charls_jpegls_encoder *c, const struct image *i,
                                    struct bytes px, size_t room, struct buf *out)
{
    charls_frame_info f = {.width = i->cols,
                           .height = i->rows,
                           .bits_per_sample = i->stored < 2 ? 2 : i->stored,
                           .component_count = i->samples};
    uint8_t          *to = buf_grow(out, room);
    size_t            written = 0;
    if (to == NULL) {
        return CHARLS_JPEGLS_ERRC_NOT_ENOUGH_MEMORY;
    }
    charls_jpegls_errc rc = charls_jpegls_encoder_set_frame_info(c, &f);
    if (i->samples > 1) {
        rc = rc == 0 ? charls_jpegls_encoder_set_interleave_mode(c, CHARLS_INTERLEAVE_MODE_SAMPLE)
                     : rc;
    }
    rc = rc == 0 ? charls_jpegls_encoder_set_destination_buffer(c, to, room) : rc;
    rc = rc == 0 ? charls_jpegls_encoder_encode_from_buffer(c, px.ptr, px.len, 0) : rc;
    rc = rc == 0 ? charls_jpegls_encoder_get_bytes_written(c, &written) : rc;
    out->len -= room - written;
    return rc;
}

/* The library wants bytes for up to 8 bits, and nothing above the stored bits, not even a sign. */
static const uint8_t *as_wanted(const struct pixels *p, size_t width, struct buf *tmp)
{
    const struct image *i = &p->image;
    if (width == sample_bytes(i) && (!i->is_signed || i->stored == i->allocated)) {
        return p->px;
    }
    size_t   n = row_samples(i) * i->rows;
    uint8_t *to = buf_grow(tmp, n * width);
    for (size_t k = 0; to != NULL && k < n; k++) {
        uint16_t v;
        row_in(p->px + k * sample_bytes(i), 1, i, &v);
        if (width == 1) {
            to[k] = (uint8_t)v;
        } else {
            memcpy(to + 2 * k, &v, 2);
        }
    }
    return to;
}

enum err jls_encode(const struct pixels *p, struct image *ret, struct buf *out, struct errmsg *e)
{
    (void)ret;
    CLEANUP(buf_done) struct buf tmp;
    buf_init(&tmp, LIMIT_FRAME);
    size_t             width = p->image.stored > 8 ? 2 : 1;
    const uint8_t     *px = as_wanted(p, width, &tmp);
    size_t             n = row_samples(&p->image) * p->image.rows * width;
    charls_jpegls_errc rc = CHARLS_JPEGLS_ERRC_DESTINATION_BUFFER_TOO_SMALL;
    if (px == NULL) {
        return err_set(e, tmp.err, "no memory for a frame of %zu bytes", n);
    }
    /* Noise grows: the worst code has 32 bits for 8, T.87 A.2.1. */
    for (size_t k = 1; k <= 4 && rc == CHARLS_JPEGLS_ERRC_DESTINATION_BUFFER_TOO_SMALL; k *= 2) {
        charls_jpegls_encoder *c = charls_jpegls_encoder_create();
        if (c == NULL) {
            return err_set(e, ERR_NOMEM, "no memory for the JPEG-LS encoder");
        }
        rc = write_all(c, &p->image, (struct bytes){px, n}, n * k + 4096, out);
        charls_jpegls_encoder_destroy(c);
    }
    return rc == 0 ? ERR_OK : failed(rc, e);
}
