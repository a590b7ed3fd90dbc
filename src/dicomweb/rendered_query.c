#include "dicomweb/rendered_query.h"

#include <math.h>

#include "base/limits.h"
#include "base/num.h"
#include "dicom/tag.h"

enum { LIST = 6 };

/* "a,b,c": how many; more than max, or none: 0. */
static size_t split(struct str s, struct str to[LIST], size_t max)
{
    size_t n = 0;
    for (;;) {
        const char *end = memchr(s.ptr, ',', s.len);
        if (n == max) {
            return 0;
        }
        to[n++] = (struct str){s.ptr, end != NULL ? (size_t)(end - s.ptr) : s.len};
        if (end == NULL) {
            return n;
        }
        s.len -= (size_t)(end + 1 - s.ptr);
        s.ptr = end + 1;
    }
}

static bool in_range(struct str s, double min, double max, double *ret)
{
    double v;
    if (!parse_double(s, &v) || v < min || v > max) {
        return false;
    }
    *ret = v;
    return true;
}

/* Larger numbers mean nothing, and would not survive arithmetic. */
#define HUGE_NUMBER 1e9

static bool get_window(struct rendered_query *q, struct str s)
{
    static const char *const names[] = {
        [VOI_LINEAR] = "linear", [VOI_LINEAR_EXACT] = "linear-exact", [VOI_SIGMOID] = "sigmoid"};
    struct str v[LIST];
    size_t     n = split(s, v, 3);
    unsigned   f = VOI_LINEAR;
    while (n == 3 && f < VOI__COUNT && !str_eq(v[2], str_of(names[f]))) {
        f++;
    }
    q->o.has_window = true;
    q->o.function = (enum voi_function)f;
    return n >= 2 && f < VOI__COUNT && in_range(v[0], -HUGE_NUMBER, HUGE_NUMBER, &q->o.center) &&
           in_range(v[1], f == VOI_LINEAR ? 1 : 1e-9, HUGE_NUMBER, &q->o.width);
}

static bool get_side(struct str s, uint32_t *ret)
{
    return parse_u32(s, ret) && *ret > 0 && *ret <= LIMIT_VIEWPORT;
}

/* vw,vh[,sx,sy,sw,sh], any of the four may be empty. */
static bool get_viewport(struct rendered_query *q, struct str s)
{
    struct str v[LIST];
    size_t     n = split(s, v, 6);
    double    *to[] = {&q->o.x, &q->o.y, &q->o.w, &q->o.h};
    if (n < 2 || !get_side(v[0], &q->o.view_w) || !get_side(v[1], &q->o.view_h)) {
        return false;
    }
    for (size_t i = 2; i < n; i++) {
        double min = i < 4 ? 0 : -HUGE_NUMBER;
        if (v[i].len > 0 && !in_range(v[i], min, HUGE_NUMBER, to[i - 2])) {
            return false;
        }
    }
    return true;
}

static bool get_quality(struct rendered_query *q, struct str s)
{
    return parse_u32(s, &q->o.quality) && q->o.quality >= 1 && q->o.quality <= 100;
}

static bool get_annotation(struct rendered_query *q, struct str s)
{
    q->annotation = s;
    return true;
}

static bool get_icc(struct rendered_query *q, struct str s)
{
    q->icc = str_eq(s, STR("no")) ? STR("") : s;
    return true;
}

static bool get_state(struct rendered_query *q, struct str s)
{
    q->state_uid = s;
    return is_uid_usable(s);
}

static bool get_state_series(struct rendered_query *q, struct str s)
{
    q->state_series = s;
    return is_uid_usable(s);
}

/* ---- of WADO-URI */

static bool get_center(struct rendered_query *q, struct str s)
{
    return in_range(s, -HUGE_NUMBER, HUGE_NUMBER, &q->o.center);
}

static bool get_width(struct rendered_query *q, struct str s)
{
    q->o.has_window = true;
    return in_range(s, 1, HUGE_NUMBER, &q->o.width);
}

static bool get_rows(struct rendered_query *q, struct str s)
{
    return get_side(s, &q->o.view_h);
}

static bool get_columns(struct rendered_query *q, struct str s)
{
    return get_side(s, &q->o.view_w);
}

static bool get_region(struct rendered_query *q, struct str s)
{
    struct str v[LIST];
    bool       ok = split(s, v, 4) == 4;
    for (size_t i = 0; ok && i < 4; i++) {
        ok = in_range(v[i], 0, 1, &q->part[i]);
    }
    q->has_part = true;
    return ok && q->part[0] < q->part[2] && q->part[1] < q->part[3];
}

static bool get_frame(struct rendered_query *q, struct str s)
{
    return parse_u32(s, &q->frame) && q->frame > 0;
}

enum { WEB = 1 << RENDERED_WEB, THUMB = 1 << RENDERED_THUMBNAIL, URI = 1 << RENDERED_URI };

static const struct {
    const char *name;
    unsigned    kinds;
    bool (*get)(struct rendered_query *q, struct str s);
} params[] = {
    {"window", WEB, get_window},
    {"viewport", WEB | THUMB, get_viewport},
    {"quality", WEB, get_quality},
    {"annotation", WEB | URI, get_annotation},
    {"iccprofile", WEB, get_icc},
    {"presentationUID", WEB | URI, get_state},
    {"presentationSeriesUID", WEB | URI, get_state_series},
    {"windowCenter", URI, get_center},
    {"windowWidth", URI, get_width},
    {"rows", URI, get_rows},
    {"columns", URI, get_columns},
    {"region", URI, get_region},
    {"frameNumber", URI, get_frame},
    {"imageQuality", URI, get_quality},
};

static uint64_t fnv(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        h = (h ^ (uint8_t)s.ptr[i]) * 1099511628211U;
    }
    return (h ^ 0xFF) * 1099511628211U;
}

static enum err get(struct rendered_query *q, const struct http_pair *p, enum rendered_kind kind,
                    struct errmsg *e)
{
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        if ((params[i].kinds >> kind & 1) == 0 || !str_eq(p->name, str_of(params[i].name))) {
            continue;
        }
        q->tag = fnv(fnv(q->tag, p->name), p->value);
        if (!params[i].get(q, p->value)) {
            return err_set(e, ERR_SYNTAX, "the parameter %s", params[i].name);
        }
    }
    return ERR_OK;
}

enum err rendered_parse(const struct uri *u, enum rendered_kind kind, struct rendered_query *ret,
                        struct errmsg *e)
{
    struct rendered_query q = {.tag = 14695981039346656037U + kind,
                               .annotation = STR(""),
                               .icc = STR(""),
                               .state_uid = STR(""),
                               .state_series = STR("")};
    enum err              rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < u->queries; i++) {
        rc = get(&q, &u->query[i], kind, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (kind == RENDERED_THUMBNAIL && q.o.view_w == 0) {
        q.o.view_w = q.o.view_h = THUMBNAIL_SIDE;
    }
    /* WADO-URI gives one of the two, or both. */
    q.o.view_w = q.o.view_w == 0 && q.o.view_h > 0 ? LIMIT_VIEWPORT : q.o.view_w;
    q.o.view_h = q.o.view_h == 0 && q.o.view_w > 0 ? LIMIT_VIEWPORT : q.o.view_h;
    *ret = q;
    return ERR_OK;
}

enum err rendered_fit(const struct rendered_query *q, const struct image *i,
                      struct render_opts *ret, struct errmsg *e)
{
    struct render_opts o = q->o;
    if (q->has_part) {
        o.x = q->part[0] * i->cols;
        o.y = q->part[1] * i->rows;
        o.w = (q->part[2] - q->part[0]) * i->cols;
        o.h = (q->part[3] - q->part[1]) * i->rows;
    }
    if (o.x >= i->cols || o.y >= i->rows) {
        return err_set(e, ERR_SYNTAX, "the region lies outside of the image (%u×%u)", i->cols,
                       i->rows);
    }
    *ret = o;
    return ERR_OK;
}
