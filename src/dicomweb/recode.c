#include "dicomweb/recode.h"

#include <stdio.h>
#include <stdlib.h>

#include "dicomweb/feed.h"
#include "pixel/transcode.h"

void frame_type(const char *media, const char *syntax, char ret[128])
{
    (void)snprintf(ret, 128, "%s; transfer-syntax=%s", media, syntax);
}

struct str instance_url(struct wado *x, const struct view_image *i)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    buf_fmt(&b, "%.*s/studies/%.*s/series/%.*s/instances/%.*s", STR_ARG(web_root(x->r)),
            STR_ARG(x->key.study_uid), STR_ARG(x->key.series_uid), STR_ARG(i->sop_uid));
    return arena_str(http_arena(x->r), (struct str){(const char *)b.ptr, b.len});
}

void frame_head(struct buf *out, const char *boundary, bool first, const char *type,
                struct str instance_url, uint32_t number)
{
    CLEANUP(buf_done) struct buf place;
    buf_init(&place, 4096);
    buf_fmt(&place, "%.*s/frames/%u", STR_ARG(instance_url), number + 1);
    const struct http_pair pairs[] = {
        {STR("Content-Type"), str_of(type)},
        {STR("Content-Location"), {(const char *)place.ptr, place.len}},
    };
    multipart_head(out, boundary, first, pairs, 2);
}

static enum err make(struct pixel_pool *pool, const struct view_image *i, uint32_t number,
                     const char *target, struct buf *out, struct errmsg *e)
{
    struct view_window w = view_data(i);
    struct dsrc        src = view_src(&w);
    struct image       image;
    return transcode_frame(pool, &src, i->syntax_uid, number, str_of(target), &image, out, e);
}

/* ---- one */

static void answer_one(struct wado *x, const struct view_image *i, const struct recode *how)
{
    CLEANUP(buf_done) struct buf out;
    CLEANUP(buf_done) struct buf whole;
    char                         type[128], boundary[MULTIPART_BOUNDARY];
    struct errmsg                e = {0};
    uint32_t                     number = how->list != NULL ? how->list[0] : 0;
    buf_init(&out, LIMIT_FRAME + (64 << 10));
    buf_init(&whole, 512);
    frame_type(how->media, how->target, type);
    if (how->multipart) {
        multipart_boundary((struct bytes){(const uint8_t *)&i->hash, sizeof(i->hash)}, boundary);
        multipart_type(&whole, boundary, how->media);
        frame_head(&out, boundary, true, type, instance_url(x, i), number);
    } else {
        buf_str(&whole, str_of(type));
    }
    buf_u8(&whole, 0);
    enum err rc = make(x->w->pixel, i, number, how->target, &out, &e);
    if (how->multipart) {
        multipart_tail(&out, boundary);
    }
    if (rc == ERR_OK) {
        http_answer_buf(x->r, 200, (const char *)whole.ptr, &out);
    } else if (rc == ERR_UNSUPPORTED || rc == ERR_SYNTAX) { // the object's fault
        http_error(x->r, 406, "not_acceptable", "%s; available: transfer-syntax=%.*s", e.text,
                   STR_ARG(i->syntax_uid));
    } else {
        http_fail(x->r, rc, &e);
    }
}

/* ---- several */

struct task {
    struct pixel_pool       *pool;
    struct view             *v;
    const struct view_image *i;
    struct str               url; // in texts
    struct buf               texts;
    const char              *target;
    char                     type[128], boundary[MULTIPART_BOUNDARY];
    size_t                   n;
    uint32_t                 list[];
};

static enum err run(void *arg, struct feed *f, struct errmsg *e)
{
    struct task                 *t = arg;
    CLEANUP(buf_done) struct buf out;
    enum err                     rc = ERR_OK;
    buf_init(&out, LIMIT_FRAME + (64 << 10));
    for (size_t k = 0; rc == ERR_OK && k < t->n; k++) {
        buf_clear(&out);
        frame_head(&out, t->boundary, k == 0, t->type, t->url, t->list[k]);
        rc = make(t->pool, t->i, t->list[k], t->target, &out, e);
        rc = rc == ERR_OK ? feed_write(f, (struct bytes){out.ptr, out.len}, e) : rc;
    }
    buf_clear(&out);
    multipart_tail(&out, t->boundary);
    return rc == ERR_OK ? feed_write(f, (struct bytes){out.ptr, out.len}, e) : rc;
}

static void done(void *arg)
{
    struct task *t = arg;
    view_unref(t->v);
    buf_done(&t->texts);
    free(t);
}

static struct task *task_new(struct wado *x, struct view *v, const struct view_image *i,
                             const struct recode *how)
{
    struct task *t = calloc(1, sizeof(*t) + how->n * sizeof(t->list[0])); // allow-banned: done
    if (t == NULL) {
        return NULL;
    }
    t->pool = x->w->pixel;
    t->v = v;
    t->i = i;
    t->target = how->target;
    t->n = how->n;
    buf_init(&t->texts, 4096);
    buf_str(&t->texts, instance_url(x, i));
    t->url = (struct str){(const char *)t->texts.ptr, t->texts.len};
    frame_type(how->media, how->target, t->type);
    multipart_boundary((struct bytes){(const uint8_t *)&i->hash, sizeof(i->hash)}, t->boundary);
    for (size_t k = 0; k < how->n; k++) {
        t->list[k] = how->list != NULL ? how->list[k] : (uint32_t)k;
    }
    return t;
}

void recode_answer(struct wado *x, struct view *v, const struct view_image *i,
                   const struct recode *how)
{
    CLEANUP(buf_done) struct buf type;
    buf_init(&type, 512);
    if (how->n == 1) {
        answer_one(x, i, how);
        view_unref(v);
        return;
    }
    struct task *t = task_new(x, v, i, how);
    if (t == NULL) {
        view_unref(v);
        http_error(x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    multipart_type(&type, t->boundary, how->media);
    buf_u8(&type, 0);
    const struct feed_job job = {.fn = run, .done = done, .arg = t, .what = "frames"};
    feed_answer(x->w->feeds, x->r, 200, (const char *)type.ptr, &job);
}
