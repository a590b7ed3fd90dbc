#pragma once
/*
 * Pictures of an object in the archive: header and frames read here, everything else in a pixel
 * worker.  Blocking.
 */
#include "dicomweb/rendered_query.h"
#include "dicomweb/wado.h"
#include "pixel/render_call.h"

struct rendered_object {
    struct view_image        *i;
    struct arena              mem;
    struct dset              *d; // its header
    struct image              image;
    uint32_t                  n;      // frames
    const struct view_frames *frames; // NULL: a deflated object, all pixels are in d
};

/* v must outlive it.  ERR_NOTFOUND: no image. */
enum err rendered_open(struct web *w, struct view *v, struct view_image *i,
                       struct rendered_object *ret, struct errmsg *e) MUST_USE;
void     rendered_close(struct rendered_object *o); // also the cleanup function

struct rendered_want {
    const struct rendered_query *q;
    const struct dset           *state; // or NULL
    enum picture_format          format;
    const uint32_t              *frames; // from 0; several of a GIF, else one.  NULL: all
    size_t                       n;
};

enum err rendered_make(struct web *w, const struct rendered_object *o,
                       const struct rendered_want *want, struct buf *out,
                       struct errmsg *e) MUST_USE;

/* A whole data set, for documents and presentation states; values longer than max are left out. */
enum err rendered_read(const struct view_image *i, uint32_t max, struct arena *mem,
                       struct dset **ret, struct errmsg *e) MUST_USE;
