#include "dicomweb/convert.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "dicom/convert.h"
#include "dicom/part10.h"
#include "sys/file.h"

enum { COPY = 128 << 10 };

const char *const convert_targets[CONVERT_TARGETS] = {
    "1.2.840.10008.1.2.1",     // explicit little endian, the default of PS3.18 8.7.3.5.2
    "1.2.840.10008.1.2",       // implicit
    "1.2.840.10008.1.2.4.202", // HTJ2K RPCL lossless
    "1.2.840.10008.1.2.4.201", // HTJ2K lossless
    "1.2.840.10008.1.2.4.80",  // JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  // JPEG 2000 lossless
    "1.2.840.10008.1.2.4.70",  // JPEG lossless
    "1.2.840.10008.1.2.5",     // RLE
};

void part_type(const char *syntax, char ret[128])
{
    (void)snprintf(ret, 128, "application/dicom; transfer-syntax=%s", syntax);
}

bool is_recodable(const struct web *w, struct str from, struct str to)
{
    const struct syntax *a = syntax_find(from), *b = syntax_find(to);
    bool                 known = a != NULL && b != NULL;
    return known &&
           (is_convertible(a, b) || (w->pixel != NULL && is_transcodable(from, to, false)));
}

enum err convert_object(struct web *w, const struct view_image *i, const char *target,
                        transcode_sink *sink, void *ctx, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf head;
    struct view_window           window = view_data(i);
    struct dsrc                  src = view_src(&window);
    struct part10_meta           meta = {
                  .class_uid = i->class_uid, .sop_uid = i->sop_uid, .syntax_uid = str_of(target)};
    buf_init(&head, LIMIT_PART10_HEAD);
    enum err rc = part10_write(&meta, &head, e);
    rc = rc == ERR_OK ? sink(ctx, (struct bytes){head.ptr, head.len}, e) : rc;
    return rc == ERR_OK ? transcode_object(w->pixel, &src, i->syntax_uid, str_of(target), false,
                                           sink, ctx, e)
                        : rc;
}

/* ---- on the feed's thread */

/*
 * One object on its way out.  What a codec refuses turns out before the first byte of the data set
 * (pixel/transcode.h): so the heads in front of it are held back, and an object that fails is left
 * out, heads and all.
 */
struct outlet {
    struct feed *feed;
    struct buf   front;
    bool         flowing;
};

static enum err outlet_open(struct outlet *o, struct errmsg *e)
{
    enum err rc =
        o->flowing ? ERR_OK : feed_write(o->feed, (struct bytes){o->front.ptr, o->front.len}, e);
    o->flowing = true;
    return rc;
}

static enum err outlet_put(void *ctx, struct bytes b, struct errmsg *e)
{
    struct outlet *o = ctx;
    if (!o->flowing && o->front.len + b.len <= o->front.max) {
        buf_add(&o->front, b);
        return o->front.err == ERR_OK ? ERR_OK : err_set(e, ERR_NOMEM, "no memory to convert");
    }
    enum err rc = outlet_open(o, e);
    return rc == ERR_OK ? feed_write(o->feed, b, e) : rc;
}

static enum err put_stored(struct outlet *o, const struct view_image *i, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf window;
    enum err                     rc = ERR_OK;
    buf_init(&window, COPY);
    uint8_t *to = buf_grow(&window, COPY);
    if (to == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to copy");
    }
    for (uint64_t at = 0; rc == ERR_OK && at < i->size;) {
        size_t n = i->size - at < COPY ? (size_t)(i->size - at) : COPY;
        rc = file_read_full(view_fd(i), i->at + at, to, n, e);
        rc = rc == ERR_OK ? outlet_put(o, (struct bytes){to, n}, e) : rc;
        at += n;
    }
    return rc;
}

struct task {
    struct conversion c;
    bool              first; // nothing was written yet
    struct view      *views[];
};

static const struct convert_plan *plan_of(const struct conversion *c, const struct view_image *i)
{
    for (size_t k = 0; k < c->plans; k++) {
        if (str_eq(c->plan[k].stored, i->syntax_uid)) {
            return &c->plan[k];
        }
    }
    return NULL;
}

static enum err put_object(struct task *t, struct feed *f, const struct view_image *i,
                           struct errmsg *e)
{
    const struct convert_plan *p = plan_of(&t->c, i);
    if (p == NULL || !p->possible) {
        return ERR_OK;
    }
    struct outlet o = {.feed = f};
    char          type[128];
    struct errmsg why = {0};
    buf_init(&o.front, LIMIT_CONVERT_FRONT);
    part_type(p->target, type);
    if (t->c.boundary[0] != '\0') {
        const struct http_pair pair = {STR("Content-Type"), str_of(type)};
        multipart_head(&o.front, t->c.boundary, t->first, &pair, 1);
    }
    enum err rc = p->target == p->stored.ptr
                      ? put_stored(&o, i, &why)
                      : convert_object(t->c.w, i, p->target, outlet_put, &o, &why);
    if (rc == ERR_OK) {
        rc = outlet_open(&o, &why);
    }
    bool begun = o.flowing;
    buf_done(&o.front);
    if (rc == ERR_OK) {
        t->first = false;
        return ERR_OK;
    }
    if (!begun && t->c.one == NULL && rc != ERR_CLOSED && rc != ERR_NOMEM) {
        log_warn("wado.left_out", "sop=%.*s why=%s", STR_ARG(i->sop_uid),
                 log_q(str_of(why.text)).z);
        return ERR_OK;
    }
    return err_set(e, rc, "%s", why.text);
}

static enum err run(void *arg, struct feed *f, struct errmsg *e)
{
    struct task *t = arg;
    enum err     rc = ERR_OK;
    if (t->c.one != NULL) {
        rc = put_object(t, f, t->c.one, e);
    }
    for (size_t k = 0; t->c.one == NULL && k < t->c.n_views; k++) {
        for (size_t i = 0; rc == ERR_OK && i < view_count(t->views[k]); i++) {
            rc = put_object(t, f, view_at(t->views[k], i), e);
        }
    }
    if (rc == ERR_OK && t->c.boundary[0] != '\0') {
        CLEANUP(buf_done) struct buf tail;
        buf_init(&tail, 256);
        multipart_tail(&tail, t->c.boundary);
        rc = feed_write(f, (struct bytes){tail.ptr, tail.len}, e);
    }
    return rc;
}

static void done(void *arg)
{
    struct task *t = arg;
    wado_unref(t->views, t->c.n_views);
    free(t);
}

void convert_answer(struct http_request *r, unsigned status, const char *type,
                    const struct conversion *c)
{
    struct task *t =
        calloc(1, sizeof(*t) + c->n_views * sizeof(struct view *)); // allow-banned: done
    if (t == NULL) {
        wado_unref(c->views, c->n_views);
        http_error(r, 503, "nomem", "no memory to convert");
        return;
    }
    t->c = *c;
    t->first = true;
    memcpy(t->views, c->views, c->n_views * sizeof(struct view *));
    const struct feed_job job = {.fn = run, .done = done, .arg = t, .what = "convert"};
    feed_answer(c->w->feeds, r, status, type, &job);
}
