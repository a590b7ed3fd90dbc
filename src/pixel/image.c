#include "pixel/image.h"

#include <inttypes.h>

#include "base/limits.h"
#include "base/num.h"
#include "dicom/tags.h"

static const struct {
    struct str term;
    uint16_t   samples; // 0: any
} photometrics[PHOTO__COUNT] = {
    [PHOTO_MONOCHROME1] = {{"MONOCHROME1", 11}, 1},
    [PHOTO_MONOCHROME2] = {{"MONOCHROME2", 11}, 1},
    [PHOTO_PALETTE] = {{"PALETTE COLOR", 13}, 1},
    [PHOTO_RGB] = {{"RGB", 3}, 3},
    [PHOTO_YBR_FULL] = {{"YBR_FULL", 8}, 3},
    [PHOTO_YBR_FULL_422] = {{"YBR_FULL_422", 12}, 3},
    [PHOTO_YBR_PARTIAL_420] = {{"YBR_PARTIAL_420", 15}, 3},
    [PHOTO_YBR_ICT] = {{"YBR_ICT", 7}, 3},
    [PHOTO_YBR_RCT] = {{"YBR_RCT", 7}, 3},
    [PHOTO_OTHER] = {{"", 0}, 0},
};

struct str photometric_name(enum photometric p)
{
    return photometrics[p].term;
}

enum photometric photometric_parse(struct str term)
{
    for (unsigned p = 0; p < PHOTO_OTHER; p++) {
        if (str_eq(term, photometrics[p].term)) {
            return (enum photometric)p;
        }
    }
    return str_eq(term, STR("YBR_PARTIAL_422")) ? PHOTO_YBR_FULL_422 : PHOTO_OTHER;
}

/* The attributes as they are, read one after the other; the first one that is not fit is told. */
struct reader {
    const struct dset *d;
    struct errmsg     *e;
    enum err           rc;
};

enum { NEEDED = -1 }; // no value stands for the absent one

static uint32_t number(struct reader *r, uint32_t tag, int64_t absent, int64_t min, int64_t max)
{
    int64_t v = absent;
    bool    there = has_value(r->d, tag);
    if (r->rc != ERR_OK) {
        return 0;
    }
    if (there ? !dset_int(r->d, tag, &v) || v < min || v > max : absent == NEEDED) {
        r->rc = err_set(r->e, ERR_SYNTAX, "pixels with a%s (%04X,%04X)",
                        there ? "n absurd" : " missing", tag >> 16, tag & 0xFFFF);
        return 0;
    }
    return (uint32_t)v;
}

static uint16_t small(struct reader *r, uint32_t tag, int64_t absent, int64_t max)
{
    return (uint16_t)number(r, tag, absent, 0, max);
}

static enum sample_kind kind_of(const struct dset *d, uint16_t allocated)
{
    if (dset_find(d, DT_PixelData) != NULL) {
        return SAMPLE_INT;
    }
    /* PS3.3 C.7.6.24 and C.7.6.25: these have no Bits Stored; the pixels may have been left out. */
    bool bare = !has_value(d, DT_BitsStored) && !has_value(d, DT_PixelRepresentation);
    if (dset_find(d, DT_FloatPixelData) != NULL || (bare && allocated == 32)) {
        return SAMPLE_FLOAT;
    }
    return dset_find(d, DT_DoubleFloatPixelData) != NULL || (bare && allocated == 64)
               ? SAMPLE_DOUBLE
               : SAMPLE_INT;
}

static enum err check_bits(const struct image *i, struct errmsg *e)
{
    static const uint16_t floats[] = {[SAMPLE_FLOAT] = 32, [SAMPLE_DOUBLE] = 64};
    if (i->kind != SAMPLE_INT) {
        return i->allocated == floats[i->kind]
                   ? ERR_OK
                   : err_set(e, ERR_SYNTAX, "floating point pixels of %u bits", i->allocated);
    }
    if (i->allocated != 1 && i->allocated != 8 && i->allocated != 16 && i->allocated != 32) {
        return err_set(e, ERR_UNSUPPORTED, "pixels of %u bits allocated", i->allocated);
    }
    if (i->stored == 0 || i->stored > i->allocated || i->high_bit >= i->allocated ||
        i->high_bit + 1 < i->stored) {
        return err_set(e, ERR_SYNTAX, "%u bits stored, high bit %u, do not fit %u bits allocated",
                       i->stored, i->high_bit, i->allocated);
    }
    return ERR_OK;
}

static enum err check_samples(const struct image *i, struct str term, struct errmsg *e)
{
    uint16_t want = photometrics[i->photometric].samples;
    if (i->samples != 1 && i->samples != 3) {
        return err_set(e, ERR_UNSUPPORTED, "%u samples a pixel", i->samples);
    }
    if (want != 0 && want != i->samples) {
        return err_set(e, ERR_SYNTAX, "%.*s with %u samples a pixel", STR_ARG(term), i->samples);
    }
    return i->samples == 1 || i->allocated != 1
               ? ERR_OK
               : err_set(e, ERR_UNSUPPORTED, "colour pixels of 1 bit");
}

enum err image_of(const struct dset *d, struct image *ret, uint32_t *ret_frames, struct errmsg *e)
{
    bool pixels = dset_find(d, DT_PixelData) != NULL || dset_find(d, DT_FloatPixelData) != NULL ||
                  dset_find(d, DT_DoubleFloatPixelData) != NULL;
    if (!pixels && dset_find(d, DT_Rows) == NULL) {
        return err_set(e, ERR_NOTFOUND, "no pixels in the object");
    }
    struct reader r = {.d = d, .e = e};
    struct image  i = {.rows = number(&r, DT_Rows, NEEDED, 1, UINT16_MAX),
                       .cols = number(&r, DT_Columns, NEEDED, 1, UINT16_MAX),
                       .samples = small(&r, DT_SamplesPerPixel, 1, UINT16_MAX),
                       .allocated = small(&r, DT_BitsAllocated, NEEDED, UINT16_MAX)};
    i.stored = small(&r, DT_BitsStored, i.allocated, UINT16_MAX);
    i.high_bit = small(&r, DT_HighBit, i.stored > 0 ? i.stored - 1 : 0, UINT16_MAX);
    i.is_signed = small(&r, DT_PixelRepresentation, 0, 1) == 1;
    i.planar = small(&r, DT_PlanarConfiguration, 0, 1) == 1 && i.samples > 1;
    uint32_t   frames = number(&r, DT_NumberOfFrames, 1, 1, UINT32_MAX);
    struct str term = dset_str(d, DT_PhotometricInterpretation);
    i.photometric = photometric_parse(term);
    if (term.len == 0) { // of old devices
        i.photometric = i.samples == 3 ? PHOTO_RGB : PHOTO_MONOCHROME2;
    }
    i.kind = kind_of(d, i.allocated);
    size_t   n;
    enum err rc = r.rc;
    rc = rc == ERR_OK ? check_bits(&i, e) : rc;
    rc = rc == ERR_OK ? check_samples(&i, term, e) : rc;
    rc = rc == ERR_OK ? image_bytes(&i, &n, e) : rc;
    if (rc == ERR_OK) {
        *ret = i;
        *ret_frames = frames;
    }
    return rc;
}

enum err image_bytes(const struct image *i, size_t *ret, struct errmsg *e)
{
    size_t pixels, bits;
    size_t samples = i->samples;
    if (!size_mul(i->cols, i->rows, &pixels)) {
        return err_set(e, ERR_LIMIT, "a frame of %" PRIu32 "×%" PRIu32, i->cols, i->rows);
    }
    if (i->photometric == PHOTO_YBR_FULL_422) { // PS3.3 C.7.6.3.1.2: two Y, one Cb, one Cr
        samples = 2;
        if (!size_mul((size_t)i->cols + i->cols % 2, i->rows, &pixels)) {
            return err_set(e, ERR_LIMIT, "a frame of %" PRIu32 "×%" PRIu32, i->cols, i->rows);
        }
    }
    if (!size_mul(pixels, samples, &bits) || !size_mul(bits, i->allocated, &bits) ||
        bits / 8 > LIMIT_FRAME) {
        return err_set(e, ERR_LIMIT, "a frame of %" PRIu32 "×%" PRIu32 " with %u bits", i->cols,
                       i->rows, i->allocated);
    }
    *ret = bits / 8 + (bits % 8 != 0);
    return ERR_OK;
}
