/* Attributes of the image where they may be: functional groups, PS3.3 C.7.6.16, or the top. */
#include "base/cur.h"
#include "base/num.h"
#include "dicom/tags.h"
#include "pixel/render_priv.h"

const struct dset *attr_item(const struct dset *d, uint32_t tag, size_t i)
{
    const struct elem *el = d != NULL ? dset_find(d, tag) : NULL;
    return el != NULL && i < el->n_items ? el->items[i] : NULL;
}

const struct dset *attr_where(const struct render *r, uint32_t macro, uint32_t tag)
{
    const struct dset *groups[] = {
        attr_item(r->s->d, DT_PerFrameFunctionalGroupsSequence, r->s->item),
        attr_item(r->s->d, DT_SharedFunctionalGroupsSequence, 0),
    };
    for (size_t g = 0; g < 2; g++) {
        const struct dset *item = attr_item(groups[g], macro, 0);
        if (item != NULL && dset_find(item, tag) != NULL) {
            return item;
        }
    }
    return dset_find(r->s->d, tag) != NULL ? r->s->d : NULL;
}

static bool binary_double(const struct elem *el, size_t i, double *ret)
{
    size_t unit = vr_unit(el->vr);
    if (unit > 8 || el->value.len / unit <= i) {
        return false;
    }
    struct cur c = cur_of((struct bytes){el->value.ptr + i * unit, unit});
    uint64_t   u = unit == 2 ? cur_u16le(&c) : unit == 4 ? cur_u32le(&c) : cur_u64le(&c);
    uint32_t   u32 = (uint32_t)u;
    float      f;
    memcpy(&f, &u32, sizeof(f));
    memcpy(ret, &u, sizeof(*ret));
    *ret = el->vr == VR_FD   ? *ret
           : el->vr == VR_FL ? (double)f
           : el->vr == VR_SS ? (double)(int16_t)u
           : el->vr == VR_SL ? (double)(int32_t)u32
                             : (double)u;
    return *ret - *ret == 0; // finite
}

bool attr_double(const struct dset *d, uint32_t tag, size_t i, double *ret)
{
    const struct elem *el = d != NULL ? dset_find(d, tag) : NULL;
    if (el == NULL || el->left_out || el->value.len == 0) {
        return false;
    }
    if (el->vr != VR_DS && el->vr != VR_IS && el->vr != VR_UN) {
        return vr_unit(el->vr) > 1 && binary_double(el, i, ret);
    }
    struct str s = dset_str_at(d, tag, i);
    if (s.len > 0 && *s.ptr == '+') {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    return parse_double(s, ret);
}

bool attr_short(const struct dset *d, uint32_t tag, size_t i, bool is_signed, int32_t *ret)
{
    const struct elem *el = d != NULL ? dset_find(d, tag) : NULL;
    if (el == NULL || el->left_out || el->value.len / 2 <= i) {
        return false;
    }
    unsigned u = (unsigned)el->value.ptr[2 * i] | (unsigned)el->value.ptr[2 * i + 1] << 8;
    *ret = is_signed ? (int16_t)u : (int32_t)u;
    return true;
}

static bool frame_listed(const struct render *r, const struct dset *ref)
{
    const struct elem *el = dset_find(ref, DT_ReferencedFrameNumber);
    if (el == NULL || el->value.len == 0) {
        return true;
    }
    double v;
    for (size_t i = 0; attr_double(ref, DT_ReferencedFrameNumber, i, &v); i++) {
        if (v == (double)r->s->frame + 1) {
            return true;
        }
    }
    return false;
}

bool attr_applies(const struct render *r, const struct dset *item)
{
    struct str         uid = dset_str(r->s->d, DT_SOPInstanceUID);
    const struct dset *ref;
    if (attr_item(item, DT_ReferencedImageSequence, 0) == NULL) {
        return true;
    }
    for (size_t i = 0; (ref = attr_item(item, DT_ReferencedImageSequence, i)) != NULL; i++) {
        if (str_eq(dset_str(ref, DT_ReferencedSOPInstanceUID), uid) && frame_listed(r, ref)) {
            return true;
        }
    }
    return false;
}
