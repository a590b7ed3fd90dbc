#pragma once
/*
 * From stored pixels to what a screen shows: the pipeline of PS3.3 C.11 and PS3.4 N.2.
 *
 * Modality LUT, VOI LUT (window or table), presentation LUT; palette colour and YBR to RGB; display
 * shutter, overlays (60xx) and the lines of a presentation state burned in; then the region of the
 * image that is asked for, turned, and scaled to square pixels and the viewport.
 *
 * Attributes are believed as far as they make sense; a data set may be a hostile one, so this runs
 * in a garonne-pixel process.  Pure; any thread.
 */
#include "pixel/image.h"
#include "pixel/picture.h"

enum voi_function { VOI_LINEAR, VOI_LINEAR_EXACT, VOI_SIGMOID, VOI__COUNT }; // PS3.3 C.11.2.1.2

/* What the caller of PS3.18 8.3.5 wants; zero: the image as it describes itself. */
struct render_opts {
    bool              has_window;
    double            center, width; // width > 0; at least 1 when linear
    enum voi_function function;
    uint32_t          view_w, view_h; // the picture fits in it, its aspect kept; 0: its own size
    /* A region of the image in pixels, from its top left; negative width or height: mirrored.
     * 0: to the edge. */
    double            x, y, w, h;
    uint32_t          quality; // of JPEG; 0: 90
};

struct render_source {
    const struct dset *d;     // of the image
    const struct dset *state; // a presentation state that applies to it, or NULL
    uint32_t           frame; // number, from 0
    size_t             item;  // of the Per-Frame Functional Groups Sequence: another one than frame
                              // when the data set was made lean
};

/* One native frame (what image_bytes says at least) to a picture.  ERR_SYNTAX: attributes that
 * contradict the frame; ERR_LIMIT; ERR_UNSUPPORTED: the region is outside of the image. */
enum err render_frame(const struct render_source *s, const struct image *i, struct bytes pixels,
                      const struct render_opts *o, struct picture *ret, struct errmsg *e) MUST_USE;

/* Time from one frame to the next as the object recommends, PS3.3 C.7.6.5; 0: not a cine. */
uint32_t render_delay_ms(const struct dset *d);
