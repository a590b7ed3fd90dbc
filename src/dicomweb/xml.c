#include "dicomweb/xml.h"

#include <stdlib.h>

#include "dicom/xml.h"
#include "dicomweb/feed.h"
#include "http/multipart.h"

struct task {
    struct buf               root; // of BulkData URIs: up to the study
    char                     boundary[MULTIPART_BOUNDARY];
    const struct view_image *one;
    bool                     first; // nothing was written yet
    size_t                   n;
    struct view             *views[];
};

static enum err model(struct task *t, const struct view_image *i, struct buf *out, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     prefix;
    struct view_window               w = view_file(i);
    struct dsrc                      src = view_src(&w);
    const struct syntax             *s = NULL;
    struct dset                     *d = NULL;
    arena_init(&mem, LIMIT_DSET);
    buf_init(&prefix, 4096);
    enum err rc = model_read(&src, &mem, &s, &d, e);
    if (rc == ERR_OK && d == NULL) {
        rc = err_set(e, ERR_SYNTAX, "the object cannot be parsed");
    }
    buf_fmt(&prefix, "%.*s/series/%.*s/instances/%.*s/bulkdata/", (int)t->root.len,
            (const char *)t->root.ptr, STR_ARG(view_series_uid(i)), STR_ARG(i->sop_uid));
    const struct json_opts opts = {
        .bulk_prefix = {(const char *)prefix.ptr, prefix.len},
    };
    return rc == ERR_OK ? dsxml_write(d, &opts, out, e) : rc;
}

static enum err put(struct task *t, struct feed *f, const struct view_image *i, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf out;
    const struct http_pair       pair = {STR("Content-Type"), STR("application/dicom+xml")};
    struct errmsg                why = {0};
    buf_init(&out, (size_t)LIMIT_DSET * 2);
    multipart_head(&out, t->boundary, t->first, &pair, 1);
    enum err rc = model(t, i, &out, &why);
    if (rc != ERR_OK) {
        /* Cannot be said in XML: left out, as from an answer in part. */
        return rc == ERR_IO || rc == ERR_NOMEM ? err_set(e, rc, "%s", why.text) : ERR_OK;
    }
    t->first = false;
    return feed_write(f, (struct bytes){out.ptr, out.len}, e);
}

static enum err run(void *arg, struct feed *f, struct errmsg *e)
{
    struct task                 *t = arg;
    CLEANUP(buf_done) struct buf tail;
    buf_init(&tail, 256);
    enum err rc = t->one != NULL ? put(t, f, t->one, e) : ERR_OK;
    for (size_t k = 0; t->one == NULL && k < t->n; k++) {
        for (size_t i = 0; rc == ERR_OK && i < view_count(t->views[k]); i++) {
            rc = put(t, f, view_at(t->views[k], i), e);
        }
    }
    multipart_tail(&tail, t->boundary);
    return rc == ERR_OK ? feed_write(f, (struct bytes){tail.ptr, tail.len}, e) : rc;
}

static void done(void *arg)
{
    struct task *t = arg;
    wado_unref(t->views, t->n);
    buf_done(&t->root);
    free(t);
}

void xml_answer(struct wado *x, struct view **v, size_t n, const struct view_image *one,
                uint64_t tag)
{
    CLEANUP(buf_done) struct buf type;
    struct task *t = calloc(1, sizeof(*t) + n * sizeof(struct view *)); // allow-banned: done
    buf_init(&type, 512);
    if (t == NULL) {
        wado_unref(v, n);
        http_error(x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    t->one = one;
    t->first = true;
    t->n = n;
    memcpy(t->views, v, n * sizeof(struct view *));
    buf_init(&t->root, 4096);
    buf_fmt(&t->root, "%.*s/studies/%.*s", STR_ARG(web_root(x->r)), STR_ARG(x->key.study_uid));
    multipart_boundary((struct bytes){(const uint8_t *)&tag, sizeof(tag)}, t->boundary);
    multipart_type(&type, t->boundary, "application/dicom+xml");
    buf_u8(&type, 0);
    const struct feed_job job = {.fn = run, .done = done, .arg = t, .what = "xml"};
    feed_answer(x->w->feeds, x->r, 200, (const char *)type.ptr, &job);
}
