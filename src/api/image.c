/*
 * One image as the reader needs it: what unpacks, windows, scales and orders its pixels, as JSON
 * values.  Of enhanced multi-frame images what all frames share is read from the shared functional
 * groups (PS3.3 C.7.6.16).
 */
#include "api/api_priv.h"
#include "base/jsonw.h"
#include "base/num.h"
#include "dicom/tags.h"

const char *const image_attr_name[IMAGE__COUNT] = {
    [IMAGE_NUMBER] = "number",   [IMAGE_FRAMES] = "frames",   [IMAGE_ROWS] = "rows",
    [IMAGE_COLS] = "cols",       [IMAGE_SAMPLES] = "samples", [IMAGE_PHOTO] = "photo",
    [IMAGE_PLANAR] = "planar",   [IMAGE_ALLOC] = "alloc",     [IMAGE_STORED] = "stored",
    [IMAGE_SIGNED] = "signed",   [IMAGE_PADDING] = "padding", [IMAGE_SLOPE] = "slope",
    [IMAGE_INTERCEPT] = "icept", [IMAGE_WC] = "wc",           [IMAGE_WW] = "ww",
    [IMAGE_VOI] = "voi",         [IMAGE_SHAPE] = "shape",     [IMAGE_SPACING] = "spacing",
    [IMAGE_POS] = "pos",         [IMAGE_ORIENT] = "orient",   [IMAGE_LOSSY] = "lossy",
    [IMAGE_TIME] = "time",       [IMAGE_SYNTAX] = "syntax",   [IMAGE_CLASS] = "class",
};

enum form {
    FORM_INT,     // a number
    FORM_TEXT,    // a string
    FORM_DECIMAL, // the first of some decimals
    FORM_VECTOR,  // all of them
};

static const struct {
    enum image_attr attr;
    enum form       form;
    uint32_t        tag;
    uint32_t        group; // functional group that has it in enhanced images; 0: none
} wanted[] = {
    {IMAGE_NUMBER, FORM_INT, DT_InstanceNumber, 0},
    {IMAGE_FRAMES, FORM_INT, DT_NumberOfFrames, 0},
    {IMAGE_ROWS, FORM_INT, DT_Rows, 0},
    {IMAGE_COLS, FORM_INT, DT_Columns, 0},
    {IMAGE_SAMPLES, FORM_INT, DT_SamplesPerPixel, 0},
    {IMAGE_PHOTO, FORM_TEXT, DT_PhotometricInterpretation, 0},
    {IMAGE_PLANAR, FORM_INT, DT_PlanarConfiguration, 0},
    {IMAGE_ALLOC, FORM_INT, DT_BitsAllocated, 0},
    {IMAGE_STORED, FORM_INT, DT_BitsStored, 0},
    {IMAGE_SIGNED, FORM_INT, DT_PixelRepresentation, 0},
    {IMAGE_PADDING, FORM_INT, DT_PixelPaddingValue, 0},
    {IMAGE_SLOPE, FORM_DECIMAL, DT_RescaleSlope, DT_PixelValueTransformationSequence},
    {IMAGE_INTERCEPT, FORM_DECIMAL, DT_RescaleIntercept, DT_PixelValueTransformationSequence},
    {IMAGE_WC, FORM_DECIMAL, DT_WindowCenter, DT_FrameVOILUTSequence},
    {IMAGE_WW, FORM_DECIMAL, DT_WindowWidth, DT_FrameVOILUTSequence},
    {IMAGE_VOI, FORM_TEXT, DT_VOILUTFunction, DT_FrameVOILUTSequence},
    {IMAGE_SHAPE, FORM_TEXT, DT_PresentationLUTShape, 0},
    {IMAGE_SPACING, FORM_VECTOR, DT_PixelSpacing, DT_PixelMeasuresSequence},
    {IMAGE_POS, FORM_VECTOR, DT_ImagePositionPatient, DT_PlanePositionSequence},
    {IMAGE_ORIENT, FORM_VECTOR, DT_ImageOrientationPatient, DT_PlaneOrientationSequence},
    {IMAGE_LOSSY, FORM_TEXT, DT_LossyImageCompression, 0},
    {IMAGE_TIME, FORM_TEXT, DT_FrameTime, 0},
};

/* The data set that has the attribute: the image itself, or the first item of a shared group. */
static const struct dset *holder(const struct dset *d, uint32_t tag, uint32_t group)
{
    const struct elem *shared = group != 0 && dset_find(d, tag) == NULL
                                    ? dset_find(d, DT_SharedFunctionalGroupsSequence)
                                    : NULL;
    const struct elem *el =
        shared != NULL && shared->n_items > 0 ? dset_find(shared->items[0], group) : NULL;
    return el != NULL && el->n_items > 0 ? el->items[0] : d;
}

static void put_vector(struct jsonw *w, const struct dset *d, uint32_t tag, size_t max)
{
    double v = 0;
    size_t n = 0;
    while (n < max && parse_double(dset_str_at(d, tag, n), &v)) {
        n++;
    }
    if (n == 0) {
        return;
    }
    if (max > 1) {
        jsonw_arr(w);
    }
    for (size_t i = 0; i < n && parse_double(dset_str_at(d, tag, i), &v); i++) {
        jsonw_double(w, v);
    }
    if (max > 1) {
        jsonw_arr_end(w);
    }
}

static void put_value(struct jsonw *w, const struct dset *d, enum form form, uint32_t tag)
{
    int64_t i = 0;
    switch (form) {
    case FORM_INT:
        if (has_value(d, tag) && dset_int(d, tag, &i)) {
            jsonw_i64(w, i);
        }
        break;
    case FORM_TEXT:
        if (dset_str_at(d, tag, 0).len > 0) {
            jsonw_str(w, dset_str_at(d, tag, 0));
        }
        break;
    case FORM_DECIMAL: put_vector(w, d, tag, 1); break;
    case FORM_VECTOR: put_vector(w, d, tag, 6); break;
    }
}

enum err image_facts(const struct dset *d, const struct pack_image *p, struct arena *a,
                     struct image_facts *ret, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    struct jsonw                 w;
    bool                         full = false;
    buf_init(&b, 4096);
    *ret = (struct image_facts){.sop = arena_str(a, str_of(p->sop_uid))};
    for (size_t i = 0; d != NULL && i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        buf_clear(&b);
        jsonw_init(&w, &b);
        put_value(&w, holder(d, wanted[i].tag, wanted[i].group), wanted[i].form, wanted[i].tag);
        if (b.err == ERR_OK && b.len > 0) {
            struct str *to = &ret->value[wanted[i].attr];
            *to = arena_str(a, (struct str){(const char *)b.ptr, b.len});
            full |= to->ptr == NULL;
        }
    }
    const char *own[] = {p->syntax_uid, p->class_uid};
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&b);
        jsonw_init(&w, &b);
        jsonw_str(&w, str_of(own[i]));
        struct str *to = &ret->value[i == 0 ? IMAGE_SYNTAX : IMAGE_CLASS];
        *to = arena_str(a, (struct str){(const char *)b.ptr, b.len});
        full |= to->ptr == NULL;
    }
    return full || ret->sop.ptr == NULL ? err_set(e, ERR_LIMIT, "the study is too large") : ERR_OK;
}

/* ---- many */

static bool is_common(const struct image_facts *f, size_t n, enum image_attr k)
{
    for (size_t i = 1; i < n; i++) {
        if (!str_eq(f[i].value[k], f[0].value[k])) {
            return false;
        }
    }
    return true;
}

static size_t common_prefix(const struct image_facts *f, size_t n)
{
    size_t len = n > 0 ? f[0].sop.len : 0;
    for (size_t i = 1; i < n; i++) {
        size_t k = 0;
        while (k < len && k < f[i].sop.len && f[i].sop.ptr[k] == f[0].sop.ptr[k]) {
            k++;
        }
        len = k;
    }
    return len;
}

static void put_raw(struct jsonw *w, struct str v)
{
    if (v.len > 0) {
        jsonw_raw(w, v);
    } else {
        jsonw_null(w);
    }
}

void images_write(struct jsonw *w, const struct image_facts *f, size_t n)
{
    size_t cut = common_prefix(f, n);
    jsonw_key(w, STR("prefix"));
    jsonw_str(w, n > 0 ? (struct str){f[0].sop.ptr, cut} : STR(""));
    jsonw_key(w, STR("sop"));
    jsonw_arr(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_str(w, (struct str){f[i].sop.ptr + cut, f[i].sop.len - cut});
    }
    jsonw_arr_end(w);
    jsonw_key(w, STR("all"));
    jsonw_obj(w);
    for (enum image_attr k = 0; n > 0 && k < IMAGE__COUNT; k++) {
        if (f[0].value[k].len > 0 && is_common(f, n, k)) {
            jsonw_key(w, str_of(image_attr_name[k]));
            jsonw_raw(w, f[0].value[k]);
        }
    }
    jsonw_obj_end(w);
    jsonw_key(w, STR("each"));
    jsonw_obj(w);
    for (enum image_attr k = 0; n > 0 && k < IMAGE__COUNT; k++) {
        if (is_common(f, n, k)) {
            continue;
        }
        jsonw_key(w, str_of(image_attr_name[k]));
        jsonw_arr(w);
        for (size_t i = 0; i < n; i++) {
            put_raw(w, f[i].value[k]);
        }
        jsonw_arr_end(w);
    }
    jsonw_obj_end(w);
}
