/* What a presentation state draws: shutters (PS3.3 C.7.6.11, C.7.6.15) and graphic objects
 * (C.10.5).
 */
#include <math.h>

#include "base/num.h"
#include "dicom/tags.h"
#include "pixel/render_priv.h"

/* ---- shutters */

struct shutter {
    bool           rect, circle, polygon, bitmap;
    double         left, right, upper, lower; // 1-based, the edges themselves are seen
    double         cy, cx, radius;
    double        *v; // row, column pairs
    size_t         n;
    struct overlay plane;
};

static bool shape_is(const struct dset *d, struct str shape)
{
    for (size_t i = 0; i < 4; i++) {
        if (str_eq(dset_str_at(d, DT_ShutterShape, i), shape)) {
            return true;
        }
    }
    return false;
}

static double *points_of(const struct dset *d, uint32_t tag, struct arena *mem, size_t *ret_n)
{
    double v;
    size_t n = 0;
    while (n < LIMIT_GRAPHIC_POINTS && attr_double(d, tag, n, &v)) {
        n++;
    }
    double *to = n > 0 ? arena_array(mem, n, double) : NULL;
    for (size_t i = 0; to != NULL && i < n; i++) {
        (void)attr_double(d, tag, i, &to[i]);
    }
    *ret_n = to != NULL ? n : 0;
    return to;
}

static void shutter_of(const struct render *r, const struct dset *d, struct shutter *s)
{
    int32_t group;
    s->rect = shape_is(d, STR("RECTANGULAR")) &&
              attr_double(d, DT_ShutterLeftVerticalEdge, 0, &s->left) &&
              attr_double(d, DT_ShutterRightVerticalEdge, 0, &s->right) &&
              attr_double(d, DT_ShutterUpperHorizontalEdge, 0, &s->upper) &&
              attr_double(d, DT_ShutterLowerHorizontalEdge, 0, &s->lower);
    s->circle = shape_is(d, STR("CIRCULAR")) &&
                attr_double(d, DT_CenterOfCircularShutter, 0, &s->cy) &&
                attr_double(d, DT_CenterOfCircularShutter, 1, &s->cx) &&
                attr_double(d, DT_RadiusOfCircularShutter, 0, &s->radius);
    if (shape_is(d, STR("POLYGONAL"))) {
        s->v = points_of(d, DT_VerticesOfThePolygonalShutter, r->mem, &s->n);
        s->polygon = s->n >= 6;
    }
    s->bitmap = shape_is(d, STR("BITMAP")) &&
                attr_short(d, DT_ShutterOverlayGroup, 0, false, &group) &&
                overlay_of(d, (uint16_t)group, r->s->frame, &s->plane);
}

/* Even-odd rule; v: y, x pairs. */
static bool is_inside(const double *v, size_t n, double y, double x)
{
    bool in = false;
    for (size_t i = 0, j = n - 2; i + 1 < n; j = i, i += 2) {
        double yi = v[i], xi = v[i + 1], yj = v[j], xj = v[j + 1];
        if ((yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi) {
            in = !in;
        }
    }
    return in;
}

static bool is_hidden(const struct shutter *s, uint32_t px, uint32_t py)
{
    double x = px + 1.0, y = py + 1.0;
    return (s->rect && (x < s->left || x > s->right || y < s->upper || y > s->lower)) ||
           (s->circle && hypot(x - s->cx, y - s->cy) > s->radius) ||
           (s->polygon && !is_inside(s->v, s->n / 2 * 2, y, x)) ||
           (s->bitmap && overlay_bit(&s->plane, px, py));
}

enum err render_shutter(struct render *r, struct errmsg *e)
{
    const struct dset *d = r->s->state != NULL ? r->s->state : r->s->d;
    struct shutter     s = {0};
    int32_t            value = 0; // P-values of 16 bits
    (void)e;
    shutter_of(r, d, &s);
    if (!s.rect && !s.circle && !s.polygon && !s.bitmap) {
        return ERR_OK;
    }
    (void)attr_short(d, DT_ShutterPresentationValue, 0, false, &value);
    for (uint32_t y = 0; y < r->to->h; y++) {
        for (uint32_t x = 0; x < r->to->w; x++) {
            if (is_hidden(&s, x, y)) {
                picture_dot(r->to, x, y, (uint8_t)(value >> 8));
            }
        }
    }
    return ERR_OK;
}

/* ---- graphic objects */

enum { INK = 255, FAR = 1000000 }; // FAR: where doubles still tell pixels apart

/* Clipped to a little more than the picture first: a line of a hostile object may be endless. */
static bool clip(const struct picture *p, double *a, double *b)
{
    const double lo[2] = {-1, -1}, hi[2] = {(double)p->w + 1, (double)p->h + 1};
    double       from = 0, to = 1;
    for (int k = 0; k < 2; k++) {
        double d = b[k] - a[k];
        double t0 = (lo[k] - a[k]) / d, t1 = (hi[k] - a[k]) / d;
        if (d == 0) {
            if (a[k] < lo[k] || a[k] > hi[k]) {
                return false;
            }
            continue;
        }
        from = fmax(from, fmin(t0, t1));
        to = fmin(to, fmax(t0, t1));
    }
    double x = a[0], y = a[1], dx = b[0] - a[0], dy = b[1] - a[1];
    a[0] = x + dx * from;
    a[1] = y + dy * from;
    b[0] = x + dx * to;
    b[1] = y + dy * to;
    return from <= to;
}

static void line(struct picture *p, const double from[2], const double to[2])
{
    double a[2] = {from[0], from[1]}, b[2] = {to[0], to[1]};
    if (!clip(p, a, b)) {
        return;
    }
    double dx = b[0] - a[0], dy = b[1] - a[1];
    size_t n = (size_t)ceil(fmax(fabs(dx), fabs(dy)));
    for (size_t i = 0; i <= n; i++) {
        double t = n > 0 ? (double)i / (double)n : 0;
        picture_dot(p, (int64_t)floor(a[0] + dx * t), (int64_t)floor(a[1] + dy * t), INK);
    }
}

static void polyline(struct picture *p, const double *v, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        line(p, v + 2 * i, v + 2 * i + 2);
    }
}

/* Catmull-Rom through the points: the standard leaves the curve open. */
static void curve(struct picture *p, const double *v, size_t n)
{
    enum { STEPS = 16 };

    for (size_t i = 0; i + 1 < n; i++) {
        const double *p0 = v + 2 * (i > 0 ? i - 1 : i), *p1 = v + 2 * i, *p2 = p1 + 2;
        const double *p3 = i + 2 < n ? p2 + 2 : p2;
        double        at[2] = {p1[0], p1[1]};
        for (int k = 1; k <= STEPS; k++) {
            double t = (double)k / STEPS, next[2];
            for (int c = 0; c < 2; c++) {
                next[c] = 0.5 * (2 * p1[c] + (p2[c] - p0[c]) * t +
                                 (2 * p0[c] - 5 * p1[c] + 4 * p2[c] - p3[c]) * t * t +
                                 (3 * p1[c] - p0[c] - 3 * p2[c] + p3[c]) * t * t * t);
            }
            line(p, at, next);
            memcpy(at, next, sizeof(at));
        }
    }
}

/* u and w: the half axes. */
static void ellipse(struct picture *p, const double c[2], const double u[2], const double w[2])
{
    enum { STEPS = 180 };

    double at[2] = {c[0] + u[0], c[1] + u[1]};
    for (int k = 1; k <= STEPS; k++) {
        double a = 2 * M_PI * k / STEPS;
        double next[2] = {c[0] + u[0] * cos(a) + w[0] * sin(a),
                          c[1] + u[1] * cos(a) + w[1] * sin(a)};
        line(p, at, next);
        memcpy(at, next, sizeof(at));
    }
}

static void circle(struct picture *p, const double *v)
{
    double rad = hypot(v[2] - v[0], v[3] - v[1]);
    ellipse(p, v, (const double[]){rad, 0}, (const double[]){0, rad});
}

/* Ends of the major axis, then of the minor one. */
static void axes(struct picture *p, const double *v)
{
    double c[2] = {(v[0] + v[2]) / 2, (v[1] + v[3]) / 2};
    ellipse(p, c, (const double[]){v[2] - c[0], v[3] - c[1]},
            (const double[]){(v[6] - v[4]) / 2, (v[7] - v[5]) / 2});
}

static void object(const struct render *r, const struct dset *o, bool display)
{
    struct str      type = dset_str(o, DT_GraphicType);
    struct picture *p = r->to;
    bool            here = str_eq(dset_str(o, DT_GraphicAnnotationUnits), STR("DISPLAY"));
    size_t          n;
    if (here != display) {
        return;
    }
    double *v = points_of(o, DT_GraphicData, r->mem, &n);
    for (size_t i = 0; i < n; i++) { // pixels count from 1, the middle of the first is 0.5 here
        v[i] = display ? v[i] * (i % 2 == 0 ? p->w : p->h) : v[i] - 0.5;
        v[i] = fmin(fmax(v[i], -FAR), FAR);
    }
    n /= 2;
    if (str_eq(type, STR("POINT")) && n >= 1) {
        for (int d = -3; d <= 3; d++) {
            picture_dot(p, (int64_t)floor(v[0]) + d, (int64_t)floor(v[1]), INK);
            picture_dot(p, (int64_t)floor(v[0]), (int64_t)floor(v[1]) + d, INK);
        }
    } else if (str_eq(type, STR("POLYLINE"))) {
        polyline(p, v, n);
    } else if (str_eq(type, STR("INTERPOLATED"))) {
        curve(p, v, n);
    } else if (str_eq(type, STR("CIRCLE")) && n >= 2) {
        circle(p, v);
    } else if (str_eq(type, STR("ELLIPSE")) && n >= 4) {
        axes(p, v);
    }
}

void render_graphics(struct render *r, bool display)
{
    const struct dset *a, *o;
    for (size_t i = 0; (a = attr_item(r->s->state, DT_GraphicAnnotationSequence, i)) != NULL; i++) {
        for (size_t k = 0;
             attr_applies(r, a) && (o = attr_item(a, DT_GraphicObjectSequence, k)) != NULL; k++) {
            object(r, o, display);
        }
    }
}
