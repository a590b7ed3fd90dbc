#include "pixel/render.h"

#include <inttypes.h>

#include "dicom/tags.h"
#include "pixel/render_priv.h"

static bool is_grey(const struct image *i)
{
    return i->samples == 1 && i->photometric != PHOTO_PALETTE;
}

static enum err check(const struct image *i, struct bytes pixels, struct errmsg *e)
{
    size_t   n;
    enum err rc = image_bytes(i, &n, e);
    if (rc == ERR_OK && pixels.len < n) {
        return err_set(e, ERR_SYNTAX, "%zu bytes of pixels where a frame has %zu", pixels.len, n);
    }
    return rc;
}

static enum err run(struct render *r, struct picture *ret, struct errmsg *e)
{
    enum err rc = is_grey(r->i) ? render_grey(r, e) : render_colour(r, e);
    rc = rc == ERR_OK ? render_shutter(r, e) : rc;
    rc = rc == ERR_OK ? render_overlays(r, e) : rc;
    if (rc == ERR_OK) {
        render_graphics(r, false);
        rc = render_view(r, ret, e);
    }
    if (rc == ERR_OK) {
        r->to = ret;
        render_graphics(r, true);
    }
    return rc;
}

enum err render_frame(const struct render_source *s, const struct image *i, struct bytes pixels,
                      const struct render_opts *o, struct picture *ret, struct errmsg *e)
{
    CLEANUP(picture_done) struct picture p = {0};
    struct picture                       got = {0};
    CLEANUP(arena_done) struct arena     mem;
    arena_init(&mem, LIMIT_RENDER);
    enum err rc = check(i, pixels, e);
    rc = rc == ERR_OK ? picture_init(&p, i->cols, i->rows, is_grey(i) ? 1 : 3, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    struct render r = {.s = s, .o = o, .i = i, .pixels = pixels, .mem = &mem, .to = &p};
    rc = run(&r, &got, e);
    if (rc == ERR_OK) {
        *ret = got;
    } else {
        picture_done(&got);
    }
    return rc;
}

static bool rate(const struct dset *d, uint32_t tag, double *ret_ms)
{
    double v;
    if (!attr_double(d, tag, 0, &v) || v <= 0) {
        return false;
    }
    *ret_ms = 1000 / v;
    return true;
}

uint32_t render_delay_ms(const struct dset *d)
{
    double ms = 0;
    bool   said = rate(d, DT_RecommendedDisplayFrameRate, &ms) || rate(d, DT_CineRate, &ms) ||
                (attr_double(d, DT_FrameTime, 0, &ms) && ms > 0) ||
                (attr_double(d, DT_FrameTimeVector, 1, &ms) && ms > 0);
    return !said ? 0 : ms < 10 ? 10 : ms > 10000 ? 10000 : (uint32_t)(ms + 0.5);
}
