/* Colour: palettes and YBR to RGB; PS3.3 C.7.6.3.1.2 and C.7.9. */
#include <inttypes.h>
#include <math.h>

#include "base/num.h"
#include "dicom/tags.h"
#include "pixel/render_priv.h"

/* ---- palette */

static const uint32_t descriptors[] = {DT_RedPaletteColorLookupTableDescriptor,
                                       DT_GreenPaletteColorLookupTableDescriptor,
                                       DT_BluePaletteColorLookupTableDescriptor};
static const uint32_t tables[] = {DT_RedPaletteColorLookupTableData,
                                  DT_GreenPaletteColorLookupTableData,
                                  DT_BluePaletteColorLookupTableData};
static const uint32_t segmented[] = {DT_SegmentedRedPaletteColorLookupTableData,
                                     DT_SegmentedGreenPaletteColorLookupTableData,
                                     DT_SegmentedBluePaletteColorLookupTableData};

static enum err expanded(const struct render *r, const struct dset *d, size_t c, struct lut *ret,
                         struct errmsg *e)
{
    const struct elem *el = dset_find(d, segmented[c]);
    int32_t            n, bits;
    if (el == NULL || !attr_short(d, descriptors[c], 0, false, &n) ||
        !attr_short(d, descriptors[c], 1, r->i->is_signed, &ret->first) ||
        !attr_short(d, descriptors[c], 2, false, &bits)) {
        return err_set(e, ERR_SYNTAX, "palette colour without a palette");
    }
    ret->n = n == 0 ? 65536 : (uint32_t)n;
    uint16_t *to = arena_array(r->mem, ret->n, uint16_t);
    if (to == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a palette");
    }
    ret->p = (const uint8_t *)to; // little endian as this machine is
    ret->wide = true;
    ret->max = bits > 8 ? 0xFFFF : 0xFF;
    return lut_expand(el->value, bits > 8, to, ret->n, e);
}

static enum err tables_of(const struct render *r, struct lut l[3], uint32_t *ret_max,
                          struct errmsg *e)
{
    const struct dset *d = r->s->d;
    uint32_t           max = 0;
    for (size_t c = 0; c < 3; c++) {
        bool     plain = dset_find(d, tables[c]) != NULL;
        enum err rc = plain ? lut_parse(d, descriptors[c], tables[c], r->i->is_signed, &l[c], e)
                            : expanded(r, d, c, &l[c], e);
        if (rc != ERR_OK) {
            return rc;
        }
        for (uint32_t v = 0; v < l[c].n; v++) {
            uint32_t at = lut_at(&l[c], (double)l[c].first + v);
            max = at > max ? at : max;
        }
    }
    *ret_max = max;
    return ERR_OK;
}

static enum err palette(struct render *r, struct errmsg *e)
{
    uint32_t   size = r->i->stored <= 16 ? 1U << r->i->stored : 0;
    uint8_t   *rgb = arena_alloc(r->mem, size, 3);
    struct lut l[3] = {0};
    uint32_t   max;
    if (size == 0 || rgb == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "palette colour of %u bits", r->i->stored);
    }
    enum err rc = tables_of(r, l, &max, e);
    if (rc != ERR_OK) {
        return rc;
    }
    /* 16 bits are announced, and only 8 are used: an old habit. */
    unsigned shift = max > 0xFF ? 8 : 0;
    for (size_t v = 0; v < size; v++) {
        bool   negative = r->i->is_signed && (v & size / 2) != 0;
        double stored = negative ? (double)v - size : (double)v;
        for (size_t c = 0; c < 3; c++) {
            rgb[3 * v + c] = (uint8_t)(lut_at(&l[c], stored) >> shift);
        }
    }
    size_t n = (size_t)r->i->cols * r->i->rows;
    for (size_t k = 0; k < n; k++) {
        memcpy(r->to->px.ptr + 3 * k, rgb + 3 * (size_t)stored_raw(r->i, r->pixels.ptr, k), 3);
    }
    return ERR_OK;
}

/* ---- three samples */

static uint8_t byte(double v)
{
    return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)lround(v);
}

static void ybr_full(uint8_t *p)
{
    double y = p[0], cb = p[1] - 128.0, cr = p[2] - 128.0;
    p[0] = byte(y + 1.402 * cr);
    p[1] = byte(y - 0.344136 * cb - 0.714136 * cr);
    p[2] = byte(y + 1.772 * cb);
}

/* Black at 16, white at 235. */
static void ybr_partial(uint8_t *p)
{
    double y = 1.1644 * (p[0] - 16.0), cb = p[1] - 128.0, cr = p[2] - 128.0;
    p[0] = byte(y + 1.5960 * cr);
    p[1] = byte(y - 0.3917 * cb - 0.8130 * cr);
    p[2] = byte(y + 2.0173 * cb);
}

static uint8_t sample8(const struct image *i, const uint8_t *p, size_t at)
{
    uint32_t v = stored_raw(i, p, at);
    return (uint8_t)(i->stored > 8 ? v >> (i->stored - 8) : v);
}

/* Y Y Cb Cr for two pixels; of rows with an odd number the last Y stands for nothing. */
static void unpack_422(struct render *r)
{
    const struct image *i = r->i;
    size_t              pairs = ((size_t)i->cols + 1) / 2;
    for (uint32_t y = 0; y < i->rows; y++) {
        uint8_t *row = r->to->px.ptr + (size_t)y * i->cols * 3;
        for (size_t x = 0; x < i->cols; x++) {
            size_t at = ((size_t)y * pairs + x / 2) * 4;
            row[3 * x] = sample8(i, r->pixels.ptr, at + x % 2);
            row[3 * x + 1] = sample8(i, r->pixels.ptr, at + 2);
            row[3 * x + 2] = sample8(i, r->pixels.ptr, at + 3);
        }
    }
}

static void unpack(struct render *r)
{
    size_t n = (size_t)r->i->cols * r->i->rows;
    for (size_t k = 0; k < n; k++) {
        for (size_t c = 0; c < 3; c++) {
            size_t at = r->i->planar ? c * n + k : 3 * k + c;
            r->to->px.ptr[3 * k + c] = sample8(r->i, r->pixels.ptr, at);
        }
    }
}

enum err render_colour(struct render *r, struct errmsg *e)
{
    enum photometric p = r->i->photometric;
    if (r->i->samples == 1) {
        return palette(r, e);
    }
    if (r->i->kind != SAMPLE_INT) {
        return err_set(e, ERR_UNSUPPORTED, "colours in floating point");
    }
    if (p == PHOTO_YBR_FULL_422) {
        unpack_422(r);
    } else {
        unpack(r);
    }
    if (p == PHOTO_RGB || p == PHOTO_OTHER) {
        return ERR_OK;
    }
    struct str term = dset_str(r->s->d, DT_PhotometricInterpretation);
    bool       partial = term.len > 11 && memcmp(term.ptr, "YBR_PARTIAL", 11) == 0;
    size_t     n = (size_t)r->i->cols * r->i->rows;
    for (size_t k = 0; k < n; k++) {
        uint8_t *at = r->to->px.ptr + 3 * k;
        if (partial) {
            ybr_partial(at);
        } else {
            ybr_full(at);
        }
    }
    return ERR_OK;
}
