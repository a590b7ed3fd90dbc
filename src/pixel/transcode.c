#include "pixel/transcode.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/num.h"
#include "dicom/convert.h"
#include "dicom/tags.h"
#include "pixel/source.h"
#include "pixel/worker_wire.h"

enum { ITEM_HEAD = 8, PIECE = 64 << 10 };

#define TAG_ITEM         0xFFFEE000U
#define TAG_SEQ_END      0xFFFEE0DDU
#define TAG_TOTAL_LENGTH 0x7FE00003U // Encapsulated Pixel Data Value Total Length
#define LEN32_UNDEFINED  UINT32_MAX

struct job {
    struct pixel_pool         *pool;
    struct source              src;
    const struct syntax       *syntax; // to be written
    const struct codec_syntax *codec;
    struct arena               mem;
    struct dset               *put;
    uint32_t                   drop[4];
    size_t                     n_drop;
    struct image               image;         // as it will be described
    struct buf                 native, coded; // of one frame
    struct spool               spool;         // all frames, when there is more than one
    uint64_t                  *lens;          // of each frame, without padding
    uint64_t                   total;         // with padding, and item heads when encapsulated
    uint64_t                   raw;           // bytes of native frames
    unsigned                   bits, n_bits;  // of 1-bit frames: those that fill no byte yet
};

static bool is_native(const struct job *j)
{
    return j->codec->codec == CODEC_NATIVE;
}

/* PS3.5 A.4: also what is not compressed may come in fragments. */
static bool in_fragments(const struct job *j)
{
    return j->syntax->encapsulated;
}

static bool is_signed(const struct dset *d)
{
    const struct elem *el = dset_find(d, DT_DigitalSignaturesSequence);
    return el != NULL && el->n_items > 0;
}

/* ---- what may become what */

static bool is_lossy_stream(const struct codec_syntax *c)
{
    const struct syntax *s = syntax_find(str_of(c->uid));
    return s != NULL && s->lossy;
}

bool is_transcodable(struct str from_uid, struct str to_uid, bool lossy)
{
    const struct codec_syntax *from = codec_of(from_uid), *to = codec_of(to_uid);
    if (str_eq(from_uid, to_uid)) {
        return true;
    }
    if (from == NULL || to == NULL) {
        return false;
    }
    if (to->codec == CODEC_NATIVE) {
        return true;
    }
    return to->encodes && (to->lossless || (lossy && !is_lossy_stream(from)));
}

static enum err check(const struct job *j, bool lossy, struct errmsg *e)
{
    const struct source *s = &j->src;
    bool                 was_lossy = str_eq(dset_str(s->dset, DT_LossyImageCompression), STR("01"));
    if (is_signed(s->dset)) {
        return err_set(e, ERR_UNSUPPORTED,
                       "digitally signed: pixels in another transfer syntax would void that");
    }
    if (s->image.kind != SAMPLE_INT && in_fragments(j)) {
        return err_set(e, ERR_UNSUPPORTED, "floating point pixels cannot be compressed");
    }
    if (!is_native(j) && !j->codec->lossless && (!lossy || was_lossy)) {
        return err_set(e, ERR_UNSUPPORTED, "%s",
                       was_lossy ? "compressed with loss already, not once more"
                                 : "compression with loss was not asked for");
    }
    return ERR_OK;
}

/* ---- frames */

static enum err to_native(struct job *j, uint32_t i, struct image *ret, struct bytes *ret_pixels,
                          struct errmsg *e)
{
    if (j->src.codec->codec == CODEC_NATIVE) {
        *ret = j->src.image;
        return source_stream(&j->src, i, ret_pixels, e);
    }
    buf_clear(&j->native);
    enum err rc = source_native(&j->src, j->pool, i, ret, &j->native, e);
    *ret_pixels = (struct bytes){j->native.ptr, j->native.len};
    return rc;
}

/* Valid until the next frame. */
static enum err make_frame(struct job *j, uint32_t i, struct image *ret, struct bytes *ret_bytes,
                           struct errmsg *e)
{
    struct image image;
    struct bytes pixels;
    enum err     rc = to_native(j, i, &image, &pixels, e);
    if (rc != ERR_OK) {
        return rc;
    }
    j->raw += pixels.len;
    if (is_native(j)) {
        *ret = image;
        *ret_bytes = pixels;
        return ERR_OK;
    }
    buf_clear(&j->coded);
    rc = pixel_encode(j->pool, str_of(j->codec->uid), &image, pixels, NULL, ret, &j->coded, e);
    if (rc != ERR_OK) {
        err_context(e, "frame %" PRIu32, i + 1);
    }
    *ret_bytes = (struct bytes){j->coded.ptr, j->coded.len};
    return rc;
}

static bool is_same_image(const struct image *a, const struct image *b)
{
    struct wire_image x = wire_of_image(a), y = wire_of_image(b);
    return memcmp(&x, &y, sizeof(x)) == 0;
}

static uint64_t padded(const struct job *j, uint64_t len)
{
    return in_fragments(j) ? ITEM_HEAD + len + len % 2 : len;
}

/* PS3.5 8.1.1: native frames of 1 bit follow each other without gaps. */
static enum err spool_bits(struct job *j, struct bytes frame, bool last, struct errmsg *e)
{
    struct buf *b = &j->coded;
    uint64_t    left = (uint64_t)j->image.rows * j->image.cols;
    buf_clear(b);
    for (size_t i = 0; i < frame.len; i++) {
        unsigned n = left < 8 ? (unsigned)left : 8;
        j->bits |= (frame.ptr[i] & ((1U << n) - 1)) << j->n_bits;
        j->n_bits += n;
        left -= n;
        if (j->n_bits >= 8) {
            buf_u8(b, (uint8_t)j->bits);
            j->bits >>= 8;
            j->n_bits -= 8;
        }
    }
    if (last && j->n_bits > 0) {
        buf_u8(b, (uint8_t)j->bits);
    }
    struct bytes all;
    enum err     rc = buf_end(b, &all);
    rc = rc == ERR_OK ? spool_add(&j->spool, all, e) : err_set(e, rc, "no memory for a frame");
    j->lens[0] = j->total = j->spool.len; // one piece
    return rc;
}

static enum err keep_frame(struct job *j, uint32_t i, struct bytes frame, struct errmsg *e)
{
    size_t n = j->src.frames.n;
    if (n > 1 && !in_fragments(j) && j->image.allocated == 1) {
        return spool_bits(j, frame, i + 1 == n, e);
    }
    j->lens[i] = frame.len;
    j->total += padded(j, frame.len);
    return n > 1 ? spool_add(&j->spool, frame, e) : ERR_OK;
}

/* All frames before the first byte is given away: errors come while nothing is lost, and the offset
 * table stands in front. */
static enum err make_frames(struct job *j, struct bytes *ret_single, struct errmsg *e)
{
    size_t   n = j->src.frames.n;
    enum err rc = n > 1 ? spool_open(&j->spool, e) : ERR_OK;
    j->lens = arena_array(&j->mem, n, uint64_t);
    if (j->lens == NULL) {
        return err_set(e, ERR_LIMIT, "%zu frames", n);
    }
    for (uint32_t i = 0; rc == ERR_OK && i < n; i++) {
        struct image image;
        rc = make_frame(j, i, &image, ret_single, e);
        if (rc == ERR_OK && i > 0 && !is_same_image(&image, &j->image)) {
            rc = err_set(e, ERR_UNSUPPORTED, "frame %" PRIu32 " is of another kind than the first",
                         i + 1);
        }
        if (rc == ERR_OK) {
            j->image = image;
            rc = keep_frame(j, i, *ret_single, e);
        }
    }
    if (rc == ERR_OK && !in_fragments(j) && j->total + 1 >= LEN32_UNDEFINED) {
        rc = err_set(e, ERR_UNSUPPORTED, "%" PRIu64 " bytes of pixels do not fit uncompressed",
                     j->total);
    }
    return rc;
}

/* ---- attributes, PS3.3 C.7.6.3 and C.7.6.1.1.5 */

static enum err put_geometry(struct job *j, struct errmsg *e)
{
    const struct image *was = &j->src.image, *is = &j->image;

    const struct {
        uint32_t tag, was, is;
    } v[] = {
        {DT_SamplesPerPixel, was->samples, is->samples},
        {DT_Rows, was->rows, is->rows},
        {DT_Columns, was->cols, is->cols},
        {DT_BitsAllocated, was->allocated, is->allocated},
        {DT_BitsStored, was->stored, is->stored},
        {DT_HighBit, was->high_bit, is->high_bit},
        {DT_PixelRepresentation, was->is_signed, is->is_signed},
        {DT_PlanarConfiguration, was->planar, is->planar},
    };
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < sizeof(v) / sizeof(v[0]); i++) {
        bool missing = v[i].tag == DT_PlanarConfiguration && is->samples > 1 &&
                       !has_value(j->src.dset, v[i].tag);
        if (v[i].was != v[i].is || missing) {
            rc = dset_put_u16(j->put, v[i].tag, (uint16_t)v[i].is);
        }
    }
    if (rc == ERR_OK && was->photometric != is->photometric && is->photometric != PHOTO_OTHER) {
        rc = dset_put_str(j->put, DT_PhotometricInterpretation, photometric_name(is->photometric));
    }
    return rc == ERR_OK ? rc : err_set(e, rc, "no memory for attributes");
}

/* One more value at the end of what is there. */
static enum err put_added(struct job *j, uint32_t tag, struct str v)
{
    CLEANUP(buf_done) struct buf b;
    struct bytes                 all;
    struct str                   old = dset_str(j->src.dset, tag);
    buf_init(&b, LIMIT_HEAD_VALUE);
    buf_str(&b, old);
    buf_str(&b, old.len > 0 ? STR("\\") : STR(""));
    buf_str(&b, v);
    enum err rc = buf_end(&b, &all);
    return rc == ERR_OK ? dset_put_str(j->put, tag, (struct str){(const char *)all.ptr, all.len})
                        : rc;
}

static enum err put_derived(struct job *j)
{
    CLEANUP(buf_done) struct buf b;
    struct bytes                 all;
    struct str                   type = dset_str(j->src.dset, DT_ImageType);
    const char                  *rest = type.len > 0 ? memchr(type.ptr, '\\', type.len) : NULL;
    buf_init(&b, LIMIT_HEAD_VALUE);
    buf_str(&b, STR("DERIVED"));
    if (rest != NULL) {
        buf_str(&b, (struct str){rest, type.len - (size_t)(rest - type.ptr)});
    } else {
        buf_str(&b, STR("\\SECONDARY"));
    }
    enum err rc = buf_end(&b, &all);
    return rc == ERR_OK
               ? dset_put_str(j->put, DT_ImageType, (struct str){(const char *)all.ptr, all.len})
               : rc;
}

static enum err put_lossy(struct job *j, struct errmsg *e)
{
    char     uid[65], ratio[24];
    bool     loses = !is_native(j) && !j->codec->lossless;
    enum err rc = ERR_OK;
    if (loses || is_lossy_stream(j->src.codec)) { // once lossy, lossy for ever
        rc = dset_put_str(j->put, DT_LossyImageCompression, STR("01"));
    }
    if (rc == ERR_OK && loses) {
        uid_new(uid);
        (void)snprintf(ratio, sizeof(ratio), "%.2f", (double)j->raw / (double)j->total);
        rc = dset_put_str(j->put, DT_SOPInstanceUID, str_of(uid));
        rc = rc == ERR_OK ? put_derived(j) : rc;
        rc = rc == ERR_OK ? put_added(j, DT_LossyImageCompressionRatio, str_of(ratio)) : rc;
        rc = rc == ERR_OK ? put_added(j, DT_LossyImageCompressionMethod,
                                      j->codec->codec == CODEC_JPEG      ? STR("ISO_10918_1")
                                      : j->codec->codec == CODEC_JPEG_LS ? STR("ISO_14495_1")
                                      : j->codec->codec == CODEC_HTJ2K   ? STR("ISO_15444_15")
                                                                         : STR("ISO_15444_1"))
                          : rc;
    }
    return rc == ERR_OK ? rc : err_set(e, rc, "no memory for attributes");
}

/* Frames that lie beyond what 32-bit offsets reach, PS3.5 A.4. */
static enum err put_extended(struct job *j, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf at, len;
    uint64_t                     pos = 0;
    buf_init(&at, LIMIT_DSET);
    buf_init(&len, LIMIT_DSET);
    for (size_t i = 0; i < j->src.frames.n; i++) {
        buf_u64le(&at, pos);
        buf_u64le(&len, j->lens[i]);
        pos += padded(j, j->lens[i]);
    }
    struct bytes a, l;
    enum err     rc = buf_end(&at, &a);
    rc = rc == ERR_OK ? buf_end(&len, &l) : rc;
    rc = rc == ERR_OK ? dset_put(j->put, DT_ExtendedOffsetTable, VR_OV, a) : rc;
    rc = rc == ERR_OK ? dset_put(j->put, DT_ExtendedOffsetTableLengths, VR_OV, l) : rc;
    return rc == ERR_OK ? rc : err_set(e, rc, "no memory for an offset table");
}

static bool is_extended(const struct job *j)
{
    return in_fragments(j) && j->total > UINT32_MAX;
}

/* A thumbnail compressed in the old syntax has no place in the new one. */
static bool has_coded_icon(const struct dset *d)
{
    const struct elem *el = dset_find(d, DT_IconImageSequence);
    for (size_t i = 0; el != NULL && i < el->n_items; i++) {
        const struct elem *pixels = dset_find(el->items[i], DT_PixelData);
        if (pixels != NULL && pixels->encapsulated) {
            return true;
        }
    }
    return false;
}

static enum err put_attributes(struct job *j, struct errmsg *e)
{
    j->put = dset_new(&j->mem);
    if (j->put == NULL) {
        return err_set(e, ERR_NOMEM, "attributes");
    }
    j->drop[j->n_drop++] = DT_ExtendedOffsetTable;
    j->drop[j->n_drop++] = DT_ExtendedOffsetTableLengths;
    j->drop[j->n_drop++] = TAG_TOTAL_LENGTH;
    if (has_coded_icon(j->src.dset)) {
        j->drop[j->n_drop++] = DT_IconImageSequence;
    }
    enum err rc = put_geometry(j, e);
    rc = rc == ERR_OK ? put_lossy(j, e) : rc;
    return rc == ERR_OK && is_extended(j) ? put_extended(j, e) : rc;
}

/* ---- pixel data */

struct pixel_out {
    struct job  *j;
    struct bytes single; // the only frame
};

static enum err write_frame(const struct pixel_out *o, struct conv *c, uint64_t at, uint64_t len,
                            struct errmsg *e)
{
    struct job *j = o->j;
    size_t      unit = in_fragments(j) || j->image.allocated <= 8 ? 1 : 2; // OW
    uint8_t     piece[PIECE];
    if (j->src.frames.n == 1) {
        return convert_bytes(c, o->single, unit, e);
    }
    struct dsrc src = spool_src(&j->spool);
    enum err    rc = ERR_OK;
    for (uint64_t done = 0; rc == ERR_OK && done < len;) {
        size_t n = len - done < PIECE ? (size_t)(len - done) : PIECE, got = 0;
        rc = src.read(src.ctx, at + done, piece, n, &got, e);
        if (rc == ERR_OK && got < n) {
            rc = err_set(e, ERR_IO, "the temporary file of frames is cut short");
        }
        rc = rc == ERR_OK ? convert_bytes(c, (struct bytes){piece, n}, unit, e) : rc;
        done += n;
    }
    return rc;
}

static enum err write_pad(struct conv *c, uint64_t len, struct errmsg *e)
{
    static const uint8_t zero = 0;
    return len % 2 != 0 ? convert_bytes(c, (struct bytes){&zero, 1}, 1, e) : ERR_OK;
}

static enum err write_native(const struct pixel_out *o, struct conv *c, struct errmsg *e)
{
    const struct job *j = o->j;
    uint32_t          tag = j->image.kind == SAMPLE_INT     ? DT_PixelData
                            : j->image.kind == SAMPLE_FLOAT ? DT_FloatPixelData
                                                            : DT_DoubleFloatPixelData;
    enum vr           vr = j->image.kind == SAMPLE_FLOAT    ? VR_OF
                           : j->image.kind == SAMPLE_DOUBLE ? VR_OD
                           : j->image.allocated > 8         ? VR_OW
                                                            : VR_OB;
    uint64_t          at = 0;
    enum err          rc = convert_head(c, tag, vr, (uint32_t)(j->total + j->total % 2), e);
    for (size_t i = 0; rc == ERR_OK && i < j->src.frames.n; i++) {
        rc = write_frame(o, c, at, j->lens[i], e);
        at += j->lens[i];
    }
    return rc == ERR_OK ? write_pad(c, j->total, e) : rc;
}

static enum err write_table(const struct job *j, struct conv *c, struct errmsg *e)
{
    size_t   n = is_extended(j) ? 0 : j->src.frames.n;
    uint64_t pos = 0;
    enum err rc = convert_delim(c, TAG_ITEM, (uint32_t)n * 4, e);
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        uint8_t at[4] = {(uint8_t)pos, (uint8_t)(pos >> 8), (uint8_t)(pos >> 16),
                         (uint8_t)(pos >> 24)};
        rc = convert_bytes(c, (struct bytes){at, sizeof(at)}, 1, e);
        pos += padded(j, j->lens[i]);
    }
    return rc;
}

static enum err write_fragments(const struct pixel_out *o, struct conv *c, struct errmsg *e)
{
    const struct job *j = o->j;
    uint64_t          at = 0;
    enum err          rc = convert_head(c, DT_PixelData, VR_OB, LEN32_UNDEFINED, e);
    rc = rc == ERR_OK ? write_table(j, c, e) : rc;
    for (size_t i = 0; rc == ERR_OK && i < j->src.frames.n; i++) {
        uint64_t len = j->lens[i];
        rc = convert_delim(c, TAG_ITEM, (uint32_t)(len + len % 2), e);
        rc = rc == ERR_OK ? write_frame(o, c, at, len, e) : rc;
        rc = rc == ERR_OK ? write_pad(c, len, e) : rc;
        at += len;
    }
    return rc == ERR_OK ? convert_delim(c, TAG_SEQ_END, 0, e) : rc;
}

static enum err write_pixels(void *ctx, struct conv *c, struct errmsg *e)
{
    const struct pixel_out *o = ctx;
    return in_fragments(o->j) ? write_fragments(o, c, e) : write_native(o, c, e);
}

/* ---- an object */

static enum err job_init(struct job *j, struct pixel_pool *p, struct str to_uid, struct errmsg *e)
{
    *j = (struct job){.pool = p, .spool.fd = -1, .src.spool.fd = -1};
    arena_init(&j->mem, LIMIT_DSET);
    buf_init(&j->native, LIMIT_PIXEL_MAP);
    buf_init(&j->coded, LIMIT_PIXEL_MAP);
    j->syntax = syntax_find(to_uid);
    j->codec = codec_of(to_uid);
    return j->syntax != NULL && j->codec != NULL
               ? ERR_OK
               : err_set(e, ERR_UNSUPPORTED, "transfer syntax %.*s cannot be written",
                         STR_ARG(to_uid));
}

static void job_done(struct job *j)
{
    source_done(&j->src);
    arena_done(&j->mem);
    buf_done(&j->native);
    buf_done(&j->coded);
    spool_done(&j->spool);
}

static enum err run(struct job *j, bool lossy, transcode_sink *sink, void *ctx, struct errmsg *e)
{
    struct pixel_out o = {.j = j};
    enum err         rc = check(j, lossy, e);
    rc = rc == ERR_OK ? make_frames(j, &o.single, e) : rc;
    rc = rc == ERR_OK ? put_attributes(j, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    const struct convert_edit edit = {
        .put = j->put, .drop = j->drop, .n_drop = j->n_drop, .pixels = write_pixels, .ctx = &o};
    const struct convert_task c = {.src = &j->src.src,
                                   .from = j->src.syntax,
                                   .to = j->syntax,
                                   .edit = &edit,
                                   .sink = sink,
                                   .ctx = ctx};
    return convert_run(&c, e);
}

/* NOLINTNEXTLINE(readability-function-size): eight parameters, agreed between the modules */
enum err transcode_object(struct pixel_pool *p, const struct dsrc *src, struct str from_uid,
                          struct str to_uid, bool lossy, transcode_sink *sink, void *ctx,
                          struct errmsg *e)
{
    const struct syntax *from = syntax_find(from_uid), *to = syntax_find(to_uid);
    if (from != NULL && to != NULL && is_convertible(from, to)) {
        return convert_stream(src, 0, from, to, sink, ctx, e);
    }
    if (from == NULL || to == NULL || !is_transcodable(from_uid, to_uid, lossy)) {
        return err_set(e, ERR_UNSUPPORTED, "%s cannot become %s",
                       from != NULL ? from->name : "an unknown transfer syntax",
                       to != NULL ? to->name : "an unknown one");
    }
    struct job j;
    enum err   rc = job_init(&j, p, to_uid, e);
    rc = rc == ERR_OK ? source_open(&j.src, src, from_uid, e) : rc;
    if (rc == ERR_OK) {
        rc = run(&j, lossy, sink, ctx, e);
    } else if (rc == ERR_NOTFOUND && is_native(&j)) { // no pixels: nothing that is compressed
        rc = convert_stream(src, 0, from, to, sink, ctx, NULL);
    } else if (rc == ERR_NOTFOUND) {
        rc = ERR_UNSUPPORTED;
    }
    job_done(&j);
    if (rc != ERR_OK) {
        err_context(e, "from %s to %s", from->name, to->name);
    }
    return rc;
}

/* ---- one frame */

/* NOLINTNEXTLINE(readability-function-size): as above */
enum err transcode_frame(struct pixel_pool *p, const struct dsrc *src, struct str from_uid,
                         uint32_t frame, struct str to_uid, struct image *ret, struct buf *out,
                         struct errmsg *e)
{
    struct job   j;
    struct bytes bytes = {0};
    struct image image = {0};
    enum err     rc = job_init(&j, p, to_uid, e);
    rc = rc == ERR_OK ? source_open(&j.src, src, from_uid, e) : rc;
    bool as_is = rc == ERR_OK &&
                 (j.src.codec == j.codec || (j.src.codec->codec == CODEC_NATIVE && is_native(&j)));
    if (as_is) {
        image = j.src.image;
        rc = source_stream(&j.src, frame, &bytes, e);
    } else if (rc == ERR_OK && !is_transcodable(from_uid, to_uid, false)) {
        rc = err_set(e, ERR_UNSUPPORTED, "%s cannot be written", j.syntax->name);
    } else if (rc == ERR_OK) {
        rc = frame < j.src.frames.n
                 ? make_frame(&j, frame, &image, &bytes, e)
                 : err_set(e, ERR_NOTFOUND, "no frame %" PRIu32 " of %zu", frame, j.src.frames.n);
    }
    if (rc == ERR_OK) {
        buf_add(out, bytes);
        rc = out->err;
        *ret = rc == ERR_OK ? image : *ret;
        rc = rc == ERR_OK ? rc : err_set(e, rc, "no room for a frame of %zu bytes", bytes.len);
    }
    job_done(&j);
    return rc;
}
