/* Grey: modality LUT, VOI LUT, presentation LUT; PS3.3 C.11.1, C.11.2, C.11.4, C.11.6. */
#include <float.h>
#include <math.h>

#include "dicom/tags.h"
#include "pixel/render_priv.h"

enum voi { VOI_RANGE, VOI_WINDOW, VOI_TABLE };

struct grey {
    bool              has_modality; // a table
    struct lut        modality;
    double            slope, intercept;
    enum voi          voi;
    double            center, width;
    enum voi_function function;
    struct lut        table;
    double            lo, hi; // VOI_RANGE
    bool              inverse;
    bool              has_shape; // a presentation LUT
    struct lut        shape;
    bool              has_padding;
    double            pad_lo, pad_hi; // stored values
};

/* ---- what the data sets say */

static void find_modality(const struct render *r, const struct dset *where, struct grey *g)
{
    double             slope = 1, intercept = 0;
    const struct dset *item = attr_item(where, DT_ModalityLUTSequence, 0);
    g->slope = 1;
    if (item != NULL && lut_parse(item, DT_LUTDescriptor, DT_LUTData, r->i->is_signed, &g->modality,
                                  NULL) == ERR_OK) {
        g->has_modality = true;
        return;
    }
    if (r->s->state == NULL) {
        where = attr_where(r, DT_PixelValueTransformationSequence, DT_RescaleSlope);
    }
    if (attr_double(where, DT_RescaleSlope, 0, &slope) && slope != 0) {
        g->slope = slope;
        g->intercept = attr_double(where, DT_RescaleIntercept, 0, &intercept) ? intercept : 0;
    }
}

static double modality(const struct grey *g, double stored)
{
    return g->has_modality ? lut_at(&g->modality, stored) : stored * g->slope + g->intercept;
}

static bool find_window(const struct dset *d, struct grey *g)
{
    struct str f = dset_str(d, DT_VOILUTFunction);
    double     c, w;
    if (!attr_double(d, DT_WindowCenter, 0, &c) || !attr_double(d, DT_WindowWidth, 0, &w)) {
        return false;
    }
    g->function = str_eq(f, STR("SIGMOID"))        ? VOI_SIGMOID
                  : str_eq(f, STR("LINEAR_EXACT")) ? VOI_LINEAR_EXACT
                                                   : VOI_LINEAR;
    if (w <= 0) {
        return false;
    }
    if (w < 1 && g->function == VOI_LINEAR) { // not allowed; written for rescaled fractions
        g->function = VOI_LINEAR_EXACT;
    }
    g->voi = VOI_WINDOW;
    g->center = c;
    g->width = w;
    return true;
}

/* The descriptor's first value has the sign of what goes in, but devices give it as US. */
static bool find_table(const struct dset *d, const struct image *i, struct grey *g)
{
    const struct dset *item = attr_item(d, DT_VOILUTSequence, 0);
    bool               negative = !g->has_modality && (i->is_signed || g->intercept < 0);
    if (item == NULL ||
        lut_parse(item, DT_LUTDescriptor, DT_LUTData, negative, &g->table, NULL) != ERR_OK) {
        return false;
    }
    g->voi = VOI_TABLE;
    return true;
}

static void find_voi(const struct render *r, struct grey *g)
{
    const struct dset *at;
    g->voi = VOI_RANGE;
    if (r->o->has_window) {
        g->voi = VOI_WINDOW;
        g->center = r->o->center;
        g->width = r->o->width;
        g->function = r->o->function;
    } else if (r->s->state != NULL) {
        for (size_t k = 0; (at = attr_item(r->s->state, DT_SoftcopyVOILUTSequence, k)) != NULL;
             k++) {
            if (attr_applies(r, at) && (find_window(at, g) || find_table(at, r->i, g))) {
                return;
            }
        }
    } else {
        at = attr_where(r, DT_FrameVOILUTSequence, DT_WindowCenter);
        if (at == NULL || !find_window(at, g)) {
            (void)find_table(r->s->d, r->i, g);
        }
    }
}

static void find_shape(const struct render *r, struct grey *g)
{
    const struct dset *state = r->s->state;
    g->inverse = r->i->photometric == PHOTO_MONOCHROME1;
    if (state == NULL) {
        return;
    }
    const struct dset *item = attr_item(state, DT_PresentationLUTSequence, 0);
    if (item != NULL &&
        lut_parse(item, DT_LUTDescriptor, DT_LUTData, false, &g->shape, NULL) == ERR_OK) {
        g->has_shape = true;
        g->inverse = false;
    } else if (has_value(state, DT_PresentationLUTShape)) {
        g->inverse = str_eq(dset_str(state, DT_PresentationLUTShape), STR("INVERSE"));
    }
}

static void find_padding(const struct render *r, struct grey *g)
{
    bool    is_signed = r->i->is_signed;
    int32_t a, b;
    if (r->i->kind != SAMPLE_INT) {
        uint32_t one = r->i->kind == SAMPLE_FLOAT ? DT_FloatPixelPaddingValue
                                                  : DT_DoubleFloatPixelPaddingValue;
        uint32_t two = r->i->kind == SAMPLE_FLOAT ? DT_FloatPixelPaddingRangeLimit
                                                  : DT_DoubleFloatPixelPaddingRangeLimit;
        g->has_padding = attr_double(r->s->d, one, 0, &g->pad_lo);
        if (!attr_double(r->s->d, two, 0, &g->pad_hi)) {
            g->pad_hi = g->pad_lo;
        }
    } else {
        g->has_padding = attr_short(r->s->d, DT_PixelPaddingValue, 0, is_signed, &a);
        if (g->has_padding && !attr_short(r->s->d, DT_PixelPaddingRangeLimit, 0, is_signed, &b)) {
            b = a;
        }
        g->pad_lo = g->has_padding ? a : 0;
        g->pad_hi = g->has_padding ? b : 0;
    }
    if (g->pad_hi < g->pad_lo) {
        double t = g->pad_lo;
        g->pad_lo = g->pad_hi;
        g->pad_hi = t;
    }
}

/* ---- a value's way */

static double clamp01(double v)
{
    return v <= 0 ? 0 : v >= 1 ? 1 : v; // NaN: both say no
}

/* PS3.3 C.11.2.1.2.1, .3.2 and .3.1 */
static double window(const struct grey *g, double x)
{
    switch (g->function) {
    case VOI_SIGMOID: return 1 / (1 + exp(-4 * (x - g->center) / g->width));
    case VOI_LINEAR_EXACT: return (x - g->center) / g->width + 0.5;
    case VOI_LINEAR:
    case VOI__COUNT: break;
    }
    if (g->width <= 1) {
        return x > g->center - 0.5 ? 1 : 0;
    }
    return (x - (g->center - 0.5)) / (g->width - 1) + 0.5;
}

static double voi(const struct grey *g, double x)
{
    if (g->voi == VOI_TABLE) {
        return (double)lut_at(&g->table, x) / g->table.max;
    }
    if (g->voi == VOI_WINDOW) {
        return window(g, x);
    }
    return g->hi > g->lo ? (x - g->lo) / (g->hi - g->lo) : 0;
}

static uint8_t level(const struct grey *g, double stored)
{
    if (g->has_padding && stored >= g->pad_lo && stored <= g->pad_hi) {
        return 0;
    }
    double v = clamp01(voi(g, modality(g, stored)));
    v = isnan(v) ? 0 : v;
    if (g->has_shape) {
        v = (double)lut_at(&g->shape, g->shape.first + floor(v * (g->shape.n - 1) + 0.5)) /
            g->shape.max;
    }
    return (uint8_t)((g->inverse ? 1 - v : v) * 255 + 0.5);
}

/* ---- pixels */

uint32_t stored_raw(const struct image *i, const uint8_t *p, size_t at)
{
    uint32_t v;
    switch (i->allocated) {
    case 1: return (uint32_t)p[at / 8] >> at % 8 & 1U;
    case 8: v = p[at]; break;
    case 16: v = (uint32_t)(p[2 * at] | p[2 * at + 1] << 8); break;
    default:
        v = (uint32_t)p[4 * at] | (uint32_t)p[4 * at + 1] << 8 | (uint32_t)p[4 * at + 2] << 16 |
            (uint32_t)p[4 * at + 3] << 24;
        break;
    }
    v >>= i->high_bit + 1 - i->stored;
    return i->stored < 32 ? v & ((1U << i->stored) - 1) : v;
}

static double signed_of(const struct image *i, uint32_t raw)
{
    uint32_t sign = 1U << (i->stored - 1);
    return i->is_signed && (raw & sign) != 0 ? (double)raw - 2 * (double)sign : (double)raw;
}

static double wide_at(const struct image *i, const uint8_t *p, size_t at)
{
    float  f;
    double d;
    switch (i->kind) {
    case SAMPLE_FLOAT: memcpy(&f, p + 4 * at, sizeof(f)); return (double)f;
    case SAMPLE_DOUBLE: memcpy(&d, p + 8 * at, sizeof(d)); return d;
    case SAMPLE_INT: break;
    }
    return signed_of(i, stored_raw(i, p, at));
}

static void widen(struct grey *g, double stored)
{
    double v = modality(g, stored);
    if ((g->has_padding && stored >= g->pad_lo && stored <= g->pad_hi) || !isfinite(v)) {
        return;
    }
    g->lo = v < g->lo ? v : g->lo;
    g->hi = v > g->hi ? v : g->hi;
}

/* At most 16 bits: a table of all levels. */
static enum err by_table(const struct render *r, struct grey *g, size_t n, struct errmsg *e)
{
    const struct image *i = r->i;
    const uint8_t      *p = r->pixels.ptr;
    uint8_t            *out = r->to->px.ptr;
    uint32_t            size = 1U << i->stored;
    uint8_t            *table = arena_alloc(r->mem, size, 1);
    if (table == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a table of greys");
    }
    if (g->voi == VOI_RANGE && i->stored <= 8) { // made to be shown as it is
        widen(g, signed_of(i, i->is_signed ? size / 2 : 0));
        widen(g, signed_of(i, i->is_signed ? size / 2 - 1 : size - 1));
    } else if (g->voi == VOI_RANGE) {
        for (size_t k = 0; k < n; k++) {
            table[stored_raw(i, p, k)] = 1;
        }
        for (uint32_t v = 0; v < size; v++) {
            if (table[v] != 0) {
                widen(g, signed_of(i, v));
            }
        }
    }
    for (uint32_t v = 0; v < size; v++) {
        table[v] = level(g, signed_of(i, v));
    }
    if (i->allocated == 16) {
        unsigned shift = i->high_bit + 1U - i->stored;
        for (size_t k = 0; k < n; k++) {
            out[k] = table[(uint32_t)(p[2 * k] | p[2 * k + 1] << 8) >> shift & (size - 1)];
        }
    } else {
        for (size_t k = 0; k < n; k++) {
            out[k] = table[stored_raw(i, p, k)];
        }
    }
    return ERR_OK;
}

enum err render_grey(struct render *r, struct errmsg *e)
{
    struct grey g = {.lo = DBL_MAX, .hi = -DBL_MAX};
    size_t      n = (size_t)r->i->cols * r->i->rows;
    find_modality(r, r->s->state != NULL ? r->s->state : r->s->d, &g);
    find_voi(r, &g);
    find_shape(r, &g);
    find_padding(r, &g);
    if (r->i->kind == SAMPLE_INT && r->i->stored <= 16) {
        return by_table(r, &g, n, e);
    }
    for (size_t k = 0; k < n && g.voi == VOI_RANGE; k++) {
        widen(&g, wide_at(r->i, r->pixels.ptr, k));
    }
    for (size_t k = 0; k < n; k++) {
        r->to->px.ptr[k] = level(&g, wide_at(r->i, r->pixels.ptr, k));
    }
    return ERR_OK;
}
