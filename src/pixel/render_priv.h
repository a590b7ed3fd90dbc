#pragma once
/*
 * Inside of rendering: parts of the pipeline, in its order.
 */
#include "base/arena.h"
#include "base/limits.h"
#include "pixel/render.h"

struct render {
    const struct render_source *s;
    const struct render_opts   *o;
    const struct image         *i;
    struct bytes                pixels;
    struct arena               *mem;
    struct picture             *to; // as large as the image until the view is cut
};

/* ---- attributes: render_attr.c */
/* The item that holds `tag`: of the functional groups (frame's, then shared) below macro, else the
 * data set itself.  NULL: nowhere. */
const struct dset *attr_where(const struct render *r, uint32_t macro, uint32_t tag);
bool attr_double(const struct dset *d, uint32_t tag, size_t i, double *ret); // DS, FL, FD, IS, US
/* Short numbers of a value: US, SS. */
bool attr_short(const struct dset *d, uint32_t tag, size_t i, bool is_signed, int32_t *ret);
const struct dset *attr_item(const struct dset *d, uint32_t tag, size_t i); // NULL: no such item
/* Does an item of a presentation state apply to this frame?  Its Referenced Image Sequence says. */
bool               attr_applies(const struct render *r, const struct dset *item);

/* ---- tables: render_lut.c, PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5 */
struct lut {
    const uint8_t *p; // little endian when wide
    uint32_t       n; // entries, at least 1
    int32_t        first;
    bool           wide; // of 16 bits
    uint32_t       max;  // the largest value that its bits can say
};
enum err lut_parse(const struct dset *d, uint32_t descriptor, uint32_t data, bool is_signed,
                   struct lut *ret, struct errmsg *e) MUST_USE;
uint32_t lut_at(const struct lut *l, double v); // clamped to its ends
/* A segmented table (PS3.3 C.7.9.2) to n entries. */
enum err lut_expand(struct bytes segments, bool wide, uint16_t *to, uint32_t n,
                    struct errmsg *e) MUST_USE;

/* ---- grey and colour, into r->to: render_grey.c, render_colour.c */
enum err render_grey(struct render *r, struct errmsg *e) MUST_USE;
enum err render_colour(struct render *r, struct errmsg *e) MUST_USE;
/* Stored value of an integer sample; only for those of at most 32 bits. */
uint32_t stored_raw(const struct image *i, const uint8_t *p, size_t at);

/* ---- over it: render_overlay.c, render_gsps.c */
enum err render_overlays(struct render *r, struct errmsg *e) MUST_USE;
enum err render_shutter(struct render *r, struct errmsg *e) MUST_USE;
/* Graphic objects in pixels of the image, or relative to the display. */
void     render_graphics(struct render *r, bool display);

/* A plane of bits: (group,3000) of d, frame `number` of it. */
struct overlay {
    uint32_t     w, h;
    int32_t      x, y;
    struct bytes bits;
    uint64_t     at; // first bit
};

bool overlay_of(const struct dset *d, uint16_t group, uint32_t frame, struct overlay *ret);
bool overlay_bit(const struct overlay *o, int64_t x, int64_t y); // of the image; outside: clear
void picture_dot(struct picture *p, int64_t x, int64_t y, uint8_t level);

/* ---- the view: render_view.c */
enum err render_view(struct render *r, struct picture *ret, struct errmsg *e) MUST_USE;
