/* OpenJPEG: JPEG 2000, ITU-T T.800, as a raw codestream. */
#include <openjpeg-2.5/openjpeg.h>

#include "pixel/codec_priv.h"

enum { PIECE = 64 << 10 };

struct why {
    char text[128];
};

static void on_error(const char *msg, void *ctx)
{
    struct why *w = ctx;
    size_t      n = strcspn(msg, "\n");
    n = n < sizeof(w->text) - 1 ? n : sizeof(w->text) - 1;
    if (w->text[0] == 0) { // the first one is the cause
        memcpy(w->text, msg, n);
        w->text[n] = 0;
    }
}

static enum err failed(const struct why *w, struct errmsg *e)
{
    return err_set(e, ERR_SYNTAX, "JPEG 2000: %s",
                   w->text[0] != 0 ? w->text : "the library gave up");
}

/* ---- decoding ---- */

struct source {
    struct bytes data;
    size_t       at;
};

static OPJ_SIZE_T source_read(void *to, OPJ_SIZE_T n, void *ctx)
{
    struct source *s = ctx;
    size_t         left = s->data.len - s->at;
    if (left == 0) {
        return (OPJ_SIZE_T)-1;
    }
    n = n < left ? n : left;
    memcpy(to, s->data.ptr + s->at, n);
    s->at += n;
    return n;
}

static OPJ_BOOL source_seek(OPJ_OFF_T to, void *ctx)
{
    struct source *s = ctx;
    if (to < 0 || (uint64_t)to > s->data.len) {
        return OPJ_FALSE;
    }
    s->at = (size_t)to;
    return OPJ_TRUE;
}

static OPJ_OFF_T source_skip(OPJ_OFF_T n, void *ctx)
{
    struct source *s = ctx;
    size_t         left = s->data.len - s->at;
    if (n < 0) {
        return -1;
    }
    if ((uint64_t)n > left) {
        s->at = s->data.len;
        return -1;
    }
    s->at += (size_t)n;
    return n;
}

static bool is_alike(const opj_image_t *im, const struct image *i)
{
    if (im->numcomps != i->samples) {
        return false;
    }
    for (unsigned k = 0; k < im->numcomps; k++) {
        const opj_image_comp_t *c = &im->comps[k];
        if (c->w != i->cols || c->h != i->rows || c->data == NULL) {
            return false;
        }
    }
    return true;
}

static void take(const opj_image_t *im, const struct stream *s, const struct image *i, uint8_t *px)
{
    size_t n = (size_t)i->cols * i->rows;
    if (im->numcomps == 1) {
        row_out_i32(im->comps[0].data, n, i, s->bits, px);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        for (unsigned c = 0; c < im->numcomps; c++, px += sample_bytes(i)) {
            row_out_i32(im->comps[c].data + k, 1, i, s->bits, px);
        }
    }
}

static bool read_image(opj_codec_t *codec, opj_stream_t *in, const struct stream *s,
                       opj_image_t **ret)
{
    opj_dparameters_t p;
    opj_set_default_decoder_parameters(&p);
    p.cp_reduce = s->reduce;
    return opj_setup_decoder(codec, &p) && opj_decoder_set_strict_mode(codec, OPJ_TRUE) &&
           opj_read_header(in, codec, ret) && opj_decode(codec, in, *ret);
}

enum err j2k_decode(const struct stream *s, struct image *i, uint8_t *px, struct errmsg *e)
{
    struct why    w = {0};
    struct source src = {.data = s->data};
    opj_image_t  *im = NULL;
    opj_codec_t  *codec = opj_create_decompress(OPJ_CODEC_J2K);
    opj_stream_t *in = opj_stream_create(PIECE, OPJ_TRUE);
    enum err      rc = ERR_OK;
    if (codec == NULL || in == NULL) {
        rc = err_set(e, ERR_NOMEM, "no memory for the JPEG 2000 decoder");
    } else {
        (void)opj_set_error_handler(codec, on_error, &w);
        opj_stream_set_user_data(in, &src, NULL);
        opj_stream_set_user_data_length(in, s->data.len);
        opj_stream_set_read_function(in, source_read);
        opj_stream_set_skip_function(in, source_skip);
        opj_stream_set_seek_function(in, source_seek);
        if (!read_image(codec, in, s, &im)) {
            rc = failed(&w, e);
        } else if (im == NULL || !is_alike(im, i)) {
            rc = err_set(e, ERR_SYNTAX, "JPEG 2000: components that do not fit the image");
        }
    }
    if (rc == ERR_OK && im != NULL) {
        take(im, s, i, px);
        i->photometric = s->mct ? PHOTO_RGB : i->photometric;
    }
    opj_image_destroy(im);
    opj_stream_destroy(in);
    opj_destroy_codec(codec);
    return rc;
}

/* ---- encoding ---- */

struct sink {
    struct buf *out;
    size_t      start, at;
};

static OPJ_SIZE_T sink_write(void *from, OPJ_SIZE_T n, void *ctx)
{
    struct sink *s = ctx;
    size_t       have = s->out->len - s->start;
    if (n > have - s->at && buf_grow(s->out, n - (have - s->at)) == NULL) {
        return (OPJ_SIZE_T)-1;
    }
    memcpy(s->out->ptr + s->start + s->at, from, n);
    s->at += n;
    return n;
}

static OPJ_BOOL sink_seek(OPJ_OFF_T to, void *ctx)
{
    struct sink *s = ctx;
    if (to < 0 || (uint64_t)to > s->out->len - s->start) {
        return OPJ_FALSE;
    }
    s->at = (size_t)to;
    return OPJ_TRUE;
}

static OPJ_OFF_T sink_skip(OPJ_OFF_T n, void *ctx)
{
    struct sink *s = ctx;
    return sink_seek((OPJ_OFF_T)s->at + n, ctx) ? n : -1;
}

static opj_image_t *give(const struct pixels *p, unsigned bits)
{
    const struct image  *i = &p->image;
    opj_image_cmptparm_t parms[3] = {0};
    for (unsigned c = 0; c < i->samples; c++) {
        parms[c] = (opj_image_cmptparm_t){
            .dx = 1, .dy = 1, .w = i->cols, .h = i->rows, .prec = bits, .sgnd = i->is_signed};
    }
    opj_image_t *im =
        opj_image_create(i->samples, parms, i->samples == 1 ? OPJ_CLRSPC_GRAY : OPJ_CLRSPC_SRGB);
    if (im == NULL) {
        return NULL;
    }
    im->x1 = i->cols;
    im->y1 = i->rows;
    size_t         n = (size_t)i->cols * i->rows;
    const uint8_t *px = p->px;
    if (i->samples == 1) {
        row_in_i32(px, n, i, im->comps[0].data);
        return im;
    }
    for (size_t k = 0; k < n; k++) {
        for (unsigned c = 0; c < i->samples; c++, px += sample_bytes(i)) {
            row_in_i32(px, 1, i, im->comps[c].data + k);
        }
    }
    return im;
}

/* No more decompositions than halvings of the longer side: the library refuses others. */
static int resolutions(const struct pixels *p)
{
    uint32_t side = p->image.cols < p->image.rows ? p->image.cols : p->image.rows;
    int      n = 1;
    while ((uint32_t)n <= p->levels && n < 33 && side >> n > 0) {
        n++;
    }
    return n;
}

static bool write_image(opj_codec_t *codec, opj_stream_t *to, opj_image_t *im,
                        const struct pixels *p)
{
    opj_cparameters_t c;
    opj_set_default_encoder_parameters(&c);
    c.numresolution = resolutions(p);
    c.prog_order = OPJ_RPCL;
    c.tcp_numlayers = 1;
    c.cp_disto_alloc = 1;
    c.tcp_rates[0] = 0; // lossless
    c.irreversible = 0;
    c.tcp_mct = p->image.photometric == PHOTO_RGB ? 1 : 0;
    return opj_setup_encoder(codec, &c, im) && opj_start_compress(codec, im, to) &&
           opj_encode(codec, to) && opj_end_compress(codec, to);
}

static enum err write_with(const struct pixels *p, unsigned bits, struct buf *out, struct errmsg *e)
{
    struct why    w = {0};
    struct sink   sink = {.out = out, .start = out->len};
    opj_image_t  *im = give(p, bits);
    opj_codec_t  *codec = opj_create_compress(OPJ_CODEC_J2K);
    opj_stream_t *to = opj_stream_create(PIECE, OPJ_FALSE);
    enum err      rc = ERR_OK;
    if (codec == NULL || to == NULL || im == NULL) {
        rc = err_set(e, ERR_NOMEM, "no memory for the JPEG 2000 encoder");
    } else {
        (void)opj_set_error_handler(codec, on_error, &w);
        opj_stream_set_user_data(to, &sink, NULL);
        opj_stream_set_write_function(to, sink_write);
        opj_stream_set_skip_function(to, sink_skip);
        opj_stream_set_seek_function(to, sink_seek);
        if (!write_image(codec, to, im, p)) {
            rc = out->err != ERR_OK ? err_set(e, out->err, "no room for the JPEG 2000 stream")
                                    : failed(&w, e);
        }
    }
    opj_image_destroy(im);
    opj_stream_destroy(to);
    opj_destroy_codec(codec);
    return rc;
}

enum err j2k_encode(const struct pixels *p, struct image *ret, struct buf *out, struct errmsg *e)
{
    size_t   start = out->len;
    enum err rc = write_with(p, p->image.stored, out, NULL);
    /* The library allots its output by the number of bits, and noise of few bits may not fit. */
    if (rc == ERR_SYNTAX && p->image.stored < p->image.allocated) {
        out->len = start;
        rc = write_with(p, p->image.allocated, out, NULL);
    }
    if (p->image.photometric == PHOTO_RGB) {
        ret->photometric = PHOTO_YBR_RCT;
    }
    return rc == ERR_OK ? rc : err_set(e, rc, "the JPEG 2000 encoder failed (%s)", err_name(rc));
}
