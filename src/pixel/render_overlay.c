/* Overlay planes, PS3.3 C.9.2: in data of their own, or (retired) in unused bits of the pixels. */
#include "base/num.h"
#include "dicom/tags.h"
#include "pixel/render_priv.h"

enum { GROUP_FIRST = 0x6000, GROUPS = 16, ACTIVATION = 0x1001 };

void picture_dot(struct picture *p, int64_t x, int64_t y, uint8_t level)
{
    if (x < 0 || y < 0 || x >= p->w || y >= p->h) {
        return;
    }
    size_t at = ((size_t)y * p->w + (size_t)x) * p->samples;
    memset(p->px.ptr + at, level, p->samples);
}

static bool ushort(const struct dset *d, uint16_t group, uint16_t element, int32_t *ret)
{
    return attr_short(d, TAG(group, element), 0, false, ret);
}

/* The plane shown on frame `number`: Image Frame Origin and Number of Frames in Overlay. */
static bool plane_of(const struct dset *d, uint16_t group, uint32_t number, uint32_t *ret)
{
    int64_t frames = 1;
    int32_t origin = 1;
    (void)dset_int(d, TAG(group, 0x0015), &frames);
    bool said = ushort(d, group, 0x0051, &origin);
    if (frames == 1 && !said) {
        *ret = 0; // on every frame
        return true;
    }
    int64_t at = (int64_t)number + 1 - origin;
    *ret = (uint32_t)at;
    return at >= 0 && at < frames;
}

bool overlay_of(const struct dset *d, uint16_t group, uint32_t frame, struct overlay *ret)
{
    const struct elem *el = dset_find(d, TAG(group, 0x3000));
    struct overlay     o = {0};
    int32_t            rows, cols, y = 1, x = 1;
    uint32_t           plane;
    if (el == NULL || el->value.len == 0 || !ushort(d, group, 0x0010, &rows) ||
        !ushort(d, group, 0x0011, &cols) || !plane_of(d, group, frame, &plane)) {
        return false;
    }
    (void)attr_short(d, TAG(group, 0x0050), 0, true, &y);
    (void)attr_short(d, TAG(group, 0x0050), 1, true, &x);
    o.w = (uint32_t)cols;
    o.h = (uint32_t)rows;
    o.x = x - 1;
    o.y = y - 1;
    o.bits = el->value;
    o.at = (uint64_t)plane * o.w * o.h;
    *ret = o;
    return true;
}

bool overlay_bit(const struct overlay *o, int64_t x, int64_t y)
{
    x -= o->x;
    y -= o->y;
    if (x < 0 || y < 0 || x >= o->w || y >= o->h) {
        return false;
    }
    uint64_t bit = o->at + (uint64_t)y * o->w + (uint64_t)x;
    return bit / 8 < o->bits.len && (o->bits.ptr[bit / 8] >> bit % 8 & 1) != 0;
}

static void draw(struct picture *to, const struct overlay *o)
{
    for (int64_t y = 0; y < to->h; y++) {
        for (int64_t x = 0; x < to->w; x++) {
            if (overlay_bit(o, x, y)) {
                picture_dot(to, x, y, 255);
            }
        }
    }
}

static uint64_t container(const struct image *i, const uint8_t *p, size_t at)
{
    struct image whole = *i;
    whole.stored = i->allocated;
    whole.high_bit = (uint16_t)(i->allocated - 1);
    return stored_raw(&whole, p, at);
}

/* Only what was not compressed has bits besides the stored ones. */
static void draw_embedded(const struct render *r, uint16_t group)
{
    int32_t allocated, bit;
    bool    fits = ushort(r->s->d, group, 0x0100, &allocated) &&
                ushort(r->s->d, group, 0x0102, &bit) && allocated == r->i->allocated &&
                bit < allocated && r->i->kind == SAMPLE_INT && r->i->samples == 1 &&
                (bit > r->i->high_bit || bit < r->i->high_bit + 1 - r->i->stored);
    size_t n = (size_t)r->i->cols * r->i->rows;
    for (size_t k = 0; k < n && fits; k++) {
        if ((container(r->i, r->pixels.ptr, k) >> bit & 1) != 0) {
            picture_dot(r->to, (int64_t)(k % r->i->cols), (int64_t)(k / r->i->cols), 255);
        }
    }
}

/* With a presentation state the planes that it activates are shown, and no others. */
static bool is_shown(const struct render *r, uint16_t group)
{
    return r->s->state == NULL || has_value(r->s->state, TAG(group, ACTIVATION));
}

enum err render_overlays(struct render *r, struct errmsg *e)
{
    struct overlay o;
    (void)e;
    for (unsigned k = 0; k < GROUPS; k++) {
        uint16_t           g = (uint16_t)(GROUP_FIRST + 2 * k);
        const struct dset *state = r->s->state;
        if (!is_shown(r, g)) {
            continue;
        }
        if ((state != NULL && overlay_of(state, g, r->s->frame, &o)) ||
            overlay_of(r->s->d, g, r->s->frame, &o)) {
            draw(r->to, &o);
        } else if (dset_find(r->s->d, TAG(g, 0x3000)) == NULL) {
            draw_embedded(r, g);
        }
    }
    return ERR_OK;
}
