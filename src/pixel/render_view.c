/* The region that is asked for, in square pixels, as large as the viewport, and turned: PS3.18
 * 8.3.5.1.3, PS3.3 C.10.4 and C.10.6. */
#include <inttypes.h>
#include <math.h>

#include "dicom/tags.h"
#include "pixel/render_priv.h"

struct view {
    double   x, y, w, h; // of the source, may reach beyond it
    bool     mirror, upside_down;
    unsigned turns;  // of 90 degrees, clockwise, before mirroring
    double   aspect; // height of a pixel to its width
};

/* ---- scaling: the average of what a pixel covers, or linear between two */

struct axis {
    uint32_t n, size; // pixels made; pixels there
    double   from, step;
};

/* The pixels of the source that make one, and what each of them counts. */
struct tap {
    int64_t first, end;
    double  lo, hi;
};

static int64_t within(const struct axis *a, double v)
{
    return v < 0 ? 0 : v > a->size ? (int64_t)a->size : (int64_t)v;
}

static struct tap tap_of(const struct axis *a, uint32_t i)
{
    double     lo = a->from + i * a->step, hi = lo + a->step;
    struct tap t = {.lo = lo, .hi = hi};
    if (a->step < 1) {
        /* Between two; at the edge its pixel alone; beyond it (a displayed area may be larger than
         * the image) nothing, which is black. */
        double mid = (lo + hi) / 2;
        bool   outside = mid < 0 || mid > a->size;
        double at = fmin(fmax(mid - 0.5, 0), a->size - 1.0);
        t = (struct tap){.lo = at, .hi = at, .first = (int64_t)at};
        t.end = outside ? t.first : within(a, floor(at) + 2);
        return t;
    }
    t.first = within(a, floor(lo + 1e-9));
    t.end = within(a, ceil(hi - 1e-9));
    return t;
}

static double weight(const struct tap *t, const struct axis *a, int64_t at)
{
    double d = (double)at;
    if (a->step < 1) {
        return 1 - fabs(t->lo - d);
    }
    return fmax(fmin(d + 1, t->hi) - fmax(d, t->lo), 0) / a->step;
}

static void scale_row(const struct picture *from, uint32_t y, const struct axis *a, float *to)
{
    const uint8_t *row = from->px.ptr + (size_t)y * from->w * from->samples;
    for (uint32_t i = 0; i < a->n; i++) {
        struct tap t = tap_of(a, i);
        double     sum[3] = {0};
        for (int64_t at = t.first; at < t.end; at++) {
            double w = weight(&t, a, at);
            for (unsigned c = 0; c < from->samples; c++) {
                sum[c] += w * row[(size_t)at * from->samples + c];
            }
        }
        for (unsigned c = 0; c < from->samples; c++) {
            to[(size_t)i * from->samples + c] = (float)sum[c];
        }
    }
}

struct rows {
    const struct picture *from;
    const struct axis    *x;
    float                *v[2]; // rows scaled last
    int64_t               y[2];
};

static const float *row_at(struct rows *r, int64_t y)
{
    size_t slot = (size_t)y % 2;
    if (r->y[slot] != y) {
        scale_row(r->from, (uint32_t)y, r->x, r->v[slot]);
        r->y[slot] = y;
    }
    return r->v[slot];
}

static enum err scale(const struct picture *from, const struct axis *x, const struct axis *y,
                      struct picture *to, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf mem;
    size_t                       n = (size_t)to->w * to->samples;
    buf_init(&mem, (size_t)LIMIT_PICTURE_SIDE * 3 * 3 * sizeof(float));
    float *v = (void *)buf_grow(&mem, 3 * n * sizeof(float));
    if (v == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to scale a picture");
    }
    struct rows rows = {.from = from, .x = x, .v = {v, v + n}, .y = {-1, -1}};
    float      *sum = v + 2 * n;
    for (uint32_t i = 0; i < to->h; i++) {
        struct tap t = tap_of(y, i);
        memset(sum, 0, n * sizeof(*sum));
        for (int64_t at = t.first; at < t.end; at++) {
            float        w = (float)weight(&t, y, at);
            const float *row = row_at(&rows, at);
            for (size_t c = 0; c < n; c++) {
                sum[c] += w * row[c];
            }
        }
        uint8_t *out = to->px.ptr + (size_t)i * n;
        for (size_t c = 0; c < n; c++) {
            out[c] = sum[c] >= 255 ? 255 : (uint8_t)lroundf(sum[c]);
        }
    }
    return ERR_OK;
}

/* ---- turning */

static void orient(const struct picture *from, const struct view *v, struct picture *to)
{
    for (uint32_t y = 0; y < to->h; y++) {
        for (uint32_t x = 0; x < to->w; x++) {
            uint32_t tx = v->mirror ? to->w - 1 - x : x;
            uint32_t ty = v->upside_down ? to->h - 1 - y : y;
            uint32_t fx = tx, fy = ty;
            if (v->turns == 1) {
                fx = ty;
                fy = from->h - 1 - tx;
            } else if (v->turns == 2) {
                fx = from->w - 1 - tx;
                fy = from->h - 1 - ty;
            } else if (v->turns == 3) {
                fx = from->w - 1 - ty;
                fy = tx;
            }
            memcpy(to->px.ptr + ((size_t)y * to->w + x) * to->samples,
                   from->px.ptr + ((size_t)fy * from->w + fx) * from->samples, to->samples);
        }
    }
}

/* ---- what the attributes say */

enum { MOST_ASPECT = 16 }; // no detector has longer pixels

static bool pair(const struct dset *d, uint32_t tag, double *ret)
{
    double v, h;
    if (!attr_double(d, tag, 0, &v) || !attr_double(d, tag, 1, &h) || v <= 0 || h <= 0) {
        return false;
    }
    *ret = v / h;
    return *ret > 1.0 / MOST_ASPECT && *ret < MOST_ASPECT;
}

/* PS3.3 10.7 and C.7.6.3.1.7: vertical, horizontal. */
static double aspect_of(const struct render *r)
{
    const struct dset *d = attr_where(r, DT_PixelMeasuresSequence, DT_PixelSpacing);
    double             a;
    if (pair(r->s->d, DT_PixelAspectRatio, &a) || pair(d, DT_PixelSpacing, &a) ||
        pair(r->s->d, DT_ImagerPixelSpacing, &a) ||
        pair(r->s->d, DT_NominalScannedPixelSpacing, &a)) {
        return a;
    }
    return 1;
}

static void displayed_area(const struct render *r, struct view *v)
{
    const struct dset *d;
    double             a[2], b[2];
    for (size_t i = 0; (d = attr_item(r->s->state, DT_DisplayedAreaSelectionSequence, i)) != NULL;
         i++) {
        if (!attr_applies(r, d) || !attr_double(d, DT_DisplayedAreaTopLeftHandCorner, 0, &a[0]) ||
            !attr_double(d, DT_DisplayedAreaTopLeftHandCorner, 1, &a[1]) ||
            !attr_double(d, DT_DisplayedAreaBottomRightHandCorner, 0, &b[0]) ||
            !attr_double(d, DT_DisplayedAreaBottomRightHandCorner, 1, &b[1])) {
            continue;
        }
        v->x = fmin(a[0], b[0]) - 1;
        v->y = fmin(a[1], b[1]) - 1;
        v->w = fabs(b[0] - a[0]) + 1;
        v->h = fabs(b[1] - a[1]) + 1;
        if (!pair(d, DT_PresentationPixelAspectRatio, &v->aspect)) {
            (void)pair(d, DT_PresentationPixelSpacing, &v->aspect);
        }
        return;
    }
}

static void turned(const struct render *r, struct view *v)
{
    double degrees = 0;
    if (r->s->state != NULL) {
        (void)attr_double(r->s->state, DT_ImageRotation, 0, &degrees);
        v->turns = degrees == 90 ? 1 : degrees == 180 ? 2 : degrees == 270 ? 3 : 0;
        v->mirror = str_eq(dset_str(r->s->state, DT_ImageHorizontalFlip), STR("Y"));
    }
}

static enum err asked(const struct render *r, struct view *v, struct errmsg *e)
{
    const struct render_opts *o = r->o;
    if (o->x == 0 && o->y == 0 && o->w == 0 && o->h == 0) {
        return ERR_OK;
    }
    *v = (struct view){.x = o->x,
                       .y = o->y,
                       .w = o->w != 0 ? fabs(o->w) : r->i->cols - o->x,
                       .h = o->h != 0 ? fabs(o->h) : r->i->rows - o->y,
                       .mirror = v->mirror != (o->w < 0),
                       .upside_down = o->h < 0,
                       .turns = v->turns,
                       .aspect = v->aspect};
    if (v->x < 0 || v->y < 0 || v->x >= r->i->cols || v->y >= r->i->rows || v->w <= 0 ||
        v->h <= 0) {
        return err_set(e, ERR_UNSUPPORTED,
                       "the region lies outside of the image (%" PRIu32 "×%" PRIu32 ")", r->i->cols,
                       r->i->rows);
    }
    v->w = fmin(v->w, r->i->cols - v->x);
    v->h = fmin(v->h, r->i->rows - v->y);
    return ERR_OK;
}

/* ---- sizes */

static uint32_t side(double v)
{
    return v < 1 ? 1 : v > LIMIT_PICTURE_SIDE ? LIMIT_PICTURE_SIDE : (uint32_t)lround(v);
}

/* Of the picture before it is turned. */
static void size_of(const struct render *r, const struct view *v, uint32_t *ret_w, uint32_t *ret_h)
{
    bool   odd = fabs(v->aspect - 1) > 1e-3;
    double w = v->w * (odd && v->aspect < 1 ? 1 / v->aspect : 1);
    double h = v->h * (odd && v->aspect > 1 ? v->aspect : 1);
    double vw = v->turns % 2 == 0 ? r->o->view_w : r->o->view_h;
    double vh = v->turns % 2 == 0 ? r->o->view_h : r->o->view_w;
    double most = 1e6 + MOST_ASPECT * (double)r->i->cols * r->i->rows; // of a displayed area
    double fit = vw > 0 && vh > 0
                     ? fmin(vw / w, vh / h)
                     : fmin(fmin(1, LIMIT_PICTURE_SIDE / fmax(w, h)), sqrt(most / (w * h)));
    *ret_w = side(w * fit);
    *ret_h = side(h * fit);
}

static void swap(struct picture *a, struct picture *b)
{
    struct picture t = *a;
    *a = *b;
    *b = t;
}

enum err render_view(struct render *r, struct picture *ret, struct errmsg *e)
{
    struct view v = {.w = r->i->cols, .h = r->i->rows, .aspect = aspect_of(r)};
    uint32_t    w, h;
    CLEANUP(picture_done) struct picture p = {0};
    displayed_area(r, &v);
    turned(r, &v);
    enum err rc = asked(r, &v, e);
    if (rc != ERR_OK) {
        return rc;
    }
    size_of(r, &v, &w, &h);
    if (v.x != 0 || v.y != 0 || v.w != w || v.h != h || w != r->to->w || h != r->to->h) {
        struct axis x = {.n = w, .size = r->to->w, .from = v.x, .step = v.w / w};
        struct axis y = {.n = h, .size = r->to->h, .from = v.y, .step = v.h / h};
        rc = picture_init(&p, w, h, r->to->samples, e);
        rc = rc == ERR_OK ? scale(r->to, &x, &y, &p, e) : rc;
        if (rc != ERR_OK) {
            return rc;
        }
        swap(&p, r->to);
    }
    if (v.turns != 0 || v.mirror || v.upside_down) {
        picture_done(&p);
        rc =
            picture_init(&p, v.turns % 2 == 0 ? w : h, v.turns % 2 == 0 ? h : w, r->to->samples, e);
        if (rc != ERR_OK) {
            return rc;
        }
        orient(r->to, &v, &p);
        swap(&p, r->to);
    }
    swap(r->to, ret);
    return ERR_OK;
}
