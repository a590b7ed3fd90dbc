/* Rendered resources and thumbnails, PS3.18 8.3.5 and 10.4.1.1.3, .4. */
#include "dicomweb/rendered.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "dicom/tags.h"
#include "dicomweb/feed.h"
#include "dicomweb/frames.h"
#include "dicomweb/rendered_job.h"
#include "dicomweb/sr_html.h"
#include "http/multipart.h"

struct job {
    struct wado           x;
    enum rendered_kind    kind;
    struct rendered_query q;
    struct str            media; // of WADO-URI
    struct view         **views;
    size_t                n_views;
    struct view          *one_view[1]; // room for views
    struct view_image    *i;           // NULL: all of the views
    uint32_t             *frames;      // of the path, from 0; NULL: as the resource means
    size_t                n;
    struct arena          state_mem;
    struct dset          *state;
    uint64_t              tag;
};

static void job_done(struct job *j)
{
    wado_unref(j->views, j->n_views);
    arena_done(&j->state_mem);
}

/* False: answered. */
static bool begin(struct job *j, struct http_request *r, struct web *w, enum rendered_kind kind)
{
    struct errmsg e = {0};
    *j = (struct job){.kind = kind, .media = STR("")};
    arena_init(&j->state_mem, LIMIT_DSET);
    j->views = j->one_view;
    if (!wado_begin(&j->x, w, r, true)) {
        return false;
    }
    if (rendered_parse(http_uri(r), kind, &j->q, &e) != ERR_OK) {
        http_error(r, 400, "syntax", "%s", e.text);
        return false;
    }
    return true;
}

static void failed(struct job *j, enum err rc, const struct errmsg *e)
{
    struct http_request *r = j->x.r;
    if (rc == ERR_UNSUPPORTED) {
        http_error(r, 406, "not_acceptable", "%s", e->text);
    } else if (rc == ERR_SYNTAX) { // what is stored, not what was asked
        log_warn("rendered.broken", "sop=%.*s why=%s",
                 STR_ARG(j->i != NULL ? j->i->sop_uid : STR("")), log_q(str_of(e->text)).z);
        http_error(r, 500, "broken", "the image cannot be decoded");
    } else {
        http_fail(r, rc, e);
    }
}

/* ---- what a presentation state is for, and which one applies */

static bool is_state(const struct view_image *i)
{
    static const struct str root = {"1.2.840.10008.5.1.4.1.1.11.", 27};
    return i->class_uid.len > root.len && memcmp(i->class_uid.ptr, root.ptr, root.len) == 0;
}

static enum err find_in(struct job *j, struct str series, struct str sop, struct view **ret_v,
                        struct view_image **ret, struct errmsg *e)
{
    struct view_key k = j->x.key;
    struct view    *v = NULL;
    k.series_uid = series;
    enum err rc = view_get(j->x.w->archive, &k, false, &v, e);
    *ret = rc == ERR_OK ? view_find(v, sop) : NULL;
    if (*ret == NULL) {
        view_unref(v);
        return rc != ERR_OK ? rc : err_set(e, ERR_NOTFOUND, "no such instance");
    }
    *ret_v = v;
    return ERR_OK;
}

/* Any series of the study.  False: answered. */
static bool find_state(struct job *j, struct view **ret_v, struct view_image **ret)
{
    struct errmsg e = {0};
    struct view **all;
    size_t        n;
    *ret = NULL;
    if (j->q.state_series.len > 0) {
        enum err rc = find_in(j, j->q.state_series, j->q.state_uid, ret_v, ret, &e);
        if (rc != ERR_OK && rc != ERR_NOTFOUND) {
            http_fail(j->x.r, rc, &e);
            return false;
        }
    } else {
        if (!wado_study(&j->x, &all, &n)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            struct view_image *found = *ret == NULL ? view_find(all[i], j->q.state_uid) : NULL;
            if (found != NULL) {
                *ret = found;
                *ret_v = all[i];
            } else {
                view_unref(all[i]);
            }
        }
    }
    if (*ret == NULL) {
        http_error(j->x.r, 404, "not_found", "no such presentation state");
    }
    return *ret != NULL;
}

static bool read_state(struct job *j, const struct view_image *i)
{
    struct errmsg e = {0};
    enum err      rc = rendered_read(i, LIMIT_VALUE, &j->state_mem, &j->state, &e);
    if (rc != ERR_OK) {
        failed(j, rc, &e);
        return false;
    }
    j->tag ^= i->hash * 31;
    return true;
}

/* The state that the query names.  False: answered. */
static bool take_state(struct job *j)
{
    struct view       *v = NULL;
    struct view_image *i;
    if (j->q.state_uid.len == 0) {
        return true;
    }
    if (!find_state(j, &v, &i)) {
        return false;
    }
    bool ok = is_state(i);
    if (!ok) {
        http_error(j->x.r, 400, "syntax", "presentationUID is no presentation state");
    }
    ok = ok && read_state(j, i);
    view_unref(v);
    return ok;
}

/* The instance asked for is a state: its first image is shown through it.  False: answered. */
static bool look_through(struct job *j)
{
    struct errmsg      e = {0};
    const struct elem *series, *image;
    if (!read_state(j, j->i)) {
        return false;
    }
    series = dset_find(j->state, DT_ReferencedSeriesSequence);
    image = series != NULL && series->n_items > 0
                ? dset_find(series->items[0], DT_ReferencedImageSequence)
                : NULL;
    struct view *v = NULL;
    enum err     rc = ERR_NOTFOUND;
    if (image != NULL && image->n_items > 0) {
        rc = find_in(j, dset_str(series->items[0], DT_SeriesInstanceUID),
                     dset_str(image->items[0], DT_ReferencedSOPInstanceUID), &v, &j->i, &e);
    }
    if (rc != ERR_OK) {
        http_error(j->x.r, 404, "not_found", "the image of the presentation state is not here");
        return false;
    }
    view_unref(j->views[0]);
    j->views[0] = v;
    return true;
}

/* ---- what may be sent */

enum { OFFERS = 2 * PICTURE__COUNT };

static size_t offers_of(bool single, bool multipart, struct accept_offer to[OFFERS])
{
    size_t n = 0;
    for (int m = single ? 0 : 1; m <= (multipart ? 1 : 0); m++) {
        for (unsigned f = 0; f < PICTURE__COUNT; f++) {
            to[n++] = (struct accept_offer){.media = picture_media((enum picture_format)f),
                                            .multipart = m == 1};
        }
    }
    return n;
}

struct form {
    enum picture_format f;
    bool                multipart;
};

/* False: answered. */
static bool choose(struct job *j, bool single, bool multipart, struct form *ret)
{
    struct accept_offer to[OFFERS];
    size_t              at = 0, n = offers_of(single, multipart, to);
    if (j->kind == RENDERED_URI) {
        for (at = 0; at < n && j->media.len > 0 && !str_eq(j->media, str_of(to[at].media)); at++) {
        }
        if (at == n) {
            http_error(j->x.r, 406, "not_acceptable",
                       "available: image/jpeg, image/png, image/gif");
            return false;
        }
    } else if (!wado_choose(j->x.r, to, n, &at)) {
        return false;
    }
    *ret = (struct form){(enum picture_format)(at % PICTURE__COUNT), to[at].multipart};
    return true;
}

static bool cached(struct job *j, const struct form *f)
{
    char     text[64];
    uint64_t tag = j->tag ^ j->q.tag;
    for (size_t k = 0; k < j->n; k++) {
        tag = (tag ^ j->frames[k]) * 1099511628211U;
    }
    (void)snprintf(text, sizeof(text), "r%u%s", (unsigned)f->f, f->multipart ? "m" : "");
    return wado_is_cached(j->x.r, tag, text, 0);
}

static void warn(struct job *j)
{
    if (j->q.annotation.len > 0) {
        wado_warn(j->x.r, "The following annotation values are not supported: %.*s",
                  STR_ARG(j->q.annotation));
    }
    if (j->q.icc.len > 0) {
        wado_warn(j->x.r, "The iccprofile parameter is not supported");
    }
}

/* ---- one picture */

static void answer_one(struct job *j, const struct rendered_object *o, enum picture_format f)
{
    CLEANUP(buf_done) struct buf out;
    uint32_t                     middle = o->n / 2;
    bool                         cine = f == PICTURE_GIF && j->kind != RENDERED_THUMBNAIL;
    struct errmsg                e = {0};
    struct rendered_want want = {.q = &j->q, .state = j->state, .format = f, .frames = j->frames};
    want.n = j->n;
    if (j->q.frame > 0) {
        middle = j->q.frame - 1;
    }
    if (j->frames == NULL && (!cine || j->q.frame > 0)) { // what stands for the whole
        want.frames = &middle;
        want.n = 1;
    }
    buf_init(&out, LIMIT_PICTURE);
    enum err rc = rendered_fit(&j->q, &o->image, &(struct render_opts){0}, &e);
    if (rc != ERR_OK) {
        http_error(j->x.r, 400, "syntax", "%s", e.text);
        return;
    }
    rc = rendered_make(j->x.w, o, &want, &out, &e);
    if (rc != ERR_OK) {
        failed(j, rc, &e);
        return;
    }
    warn(j);
    http_answer_buf(j->x.r, 200, picture_media(f), &out);
}

/* ---- several, on a thread of their own: what is broken or no image is left out */

struct task {
    struct web           *w;
    struct rendered_query q;
    enum picture_format   f;
    char                  boundary[MULTIPART_BOUNDARY];
    bool                  first;
    struct arena          state_mem;
    struct dset          *state;
    struct view_image    *i; // NULL: all images, the middle frame of each
    uint32_t             *frames;
    size_t                n; // 0: all of i
    size_t                n_views;
    struct view          *views[];
};

static enum err put(struct task *t, struct feed *f, const struct rendered_object *o, uint32_t frame,
                    struct errmsg *e)
{
    CLEANUP(buf_done) struct buf head;
    CLEANUP(buf_done) struct buf out;
    struct errmsg                why = {0};
    struct rendered_want         want = {
                .q = &t->q, .state = t->state, .format = t->f, .frames = &frame, .n = 1};
    buf_init(&head, 1024);
    buf_init(&out, LIMIT_PICTURE);
    enum err rc = rendered_make(t->w, o, &want, &out, &why);
    if (rc != ERR_OK) {
        log_warn("rendered.left_out", "sop=%.*s why=%s", STR_ARG(o->i->sop_uid),
                 log_q(str_of(why.text)).z);
        return ERR_OK;
    }
    const struct http_pair pair = {STR("Content-Type"), str_of(picture_media(t->f))};
    multipart_head(&head, t->boundary, t->first, &pair, 1);
    t->first = false;
    rc = feed_write(f, (struct bytes){head.ptr, head.len}, e);
    return rc == ERR_OK ? feed_write(f, (struct bytes){out.ptr, out.len}, e) : rc;
}

static enum err put_object(struct task *t, struct feed *f, struct view *v, struct view_image *i,
                           struct errmsg *e)
{
    CLEANUP(rendered_close) struct rendered_object o = {0};
    enum err                                       rc = ERR_OK;
    if (rendered_open(t->w, v, i, &o, NULL) != ERR_OK) {
        return ERR_OK;
    }
    if (t->i == NULL) {
        return put(t, f, &o, o.n / 2, e);
    }
    size_t n = t->n > 0 ? t->n : o.n;
    for (size_t k = 0; rc == ERR_OK && k < n; k++) {
        rc = put(t, f, &o, t->n > 0 ? t->frames[k] : (uint32_t)k, e);
    }
    return rc;
}

static enum err run(void *arg, struct feed *f, struct errmsg *e)
{
    struct task *t = arg;
    enum err     rc = ERR_OK;
    if (t->i != NULL) {
        rc = put_object(t, f, t->views[0], t->i, e);
    }
    for (size_t v = 0; t->i == NULL && v < t->n_views; v++) {
        for (size_t k = 0; rc == ERR_OK && k < view_count(t->views[v]); k++) {
            rc = put_object(t, f, t->views[v], view_at(t->views[v], k), e);
        }
    }
    CLEANUP(buf_done) struct buf tail;
    buf_init(&tail, 256);
    multipart_tail(&tail, t->boundary);
    return rc == ERR_OK ? feed_write(f, (struct bytes){tail.ptr, tail.len}, e) : rc;
}

static void task_free(void *arg)
{
    struct task *t = arg;
    wado_unref(t->views, t->n_views);
    arena_done(&t->state_mem);
    free(t->frames);
    free(t);
}

/* Takes the views and the state of j. */
static struct task *task_new(struct job *j, enum picture_format f)
{
    struct task *t = calloc(1, sizeof(*t) + j->n_views * sizeof(struct view *));
    uint32_t    *frames = calloc(j->n + 1, sizeof(uint32_t));
    if (t == NULL || frames == NULL) {
        free(t);
        free(frames);
        return NULL;
    }
    *t = (struct task){.w = j->x.w,
                       .q = j->q,
                       .f = f,
                       .first = true,
                       .state_mem = j->state_mem,
                       .state = j->state,
                       .i = j->i,
                       .frames = frames,
                       .n = j->n,
                       .n_views = j->n_views};
    arena_init(&j->state_mem, 0);
    memcpy(t->views, j->views, j->n_views * sizeof(struct view *));
    for (size_t k = 0; k < j->n; k++) {
        frames[k] = j->frames[k];
    }
    j->n_views = 0;
    return t;
}

static void answer_many(struct job *j, enum picture_format f)
{
    CLEANUP(buf_done) struct buf type;
    uint64_t                     seed[2] = {j->tag, j->q.tag};
    struct task                 *t = task_new(j, f);
    if (t == NULL) {
        http_error(j->x.r, 503, "nomem", "no memory for an answer");
        return;
    }
    if (t->state != NULL) { // its arena has moved with the struct
        t->state->arena = &t->state_mem;
    }
    multipart_boundary((struct bytes){(const uint8_t *)seed, sizeof(seed)}, t->boundary);
    buf_init(&type, 512);
    multipart_type(&type, t->boundary, picture_media(f));
    buf_u8(&type, 0);
    warn(j);
    const struct feed_job job = {.fn = run, .done = task_free, .arg = t, .what = "rendered"};
    feed_answer(j->x.w->feeds, j->x.r, 200, (const char *)type.ptr, &job);
}

/* ---- documents */

static bool wants(struct job *j, const char *media)
{
    struct accept_offer offer = {.media = media};
    size_t              at;
    if (j->kind == RENDERED_URI) {
        if (j->media.len == 0 || str_eq(j->media, str_of(media))) {
            return true;
        }
        http_error(j->x.r, 406, "not_acceptable", "available: %s", media);
        return false;
    }
    return wado_choose(j->x.r, &offer, 1, &at);
}

static void answer_pdf(struct job *j, const struct dset *d)
{
    const struct elem *el = dset_find(d, DT_EncapsulatedDocument);
    struct pieces     *p = NULL;
    if (!wants(j, "application/pdf") || wado_is_cached(j->x.r, j->tag, "pdf", 0)) {
        return;
    }
    http_add_header(j->x.r, "X-Content-Type-Options", STR("nosniff"));
    if (!el->left_out) {
        http_answer(j->x.r, 200, "application/pdf", el->value);
        return;
    }
    p = pieces_new();
    if (p == NULL) {
        http_error(j->x.r, 503, "nomem", "no memory for an answer");
        return;
    }
    pieces_file(p, view_fd(j->i), view_data(j->i).at + el->offset, el->len);
    pieces_keep(p, j->views[0]);
    j->n_views = 0;
    pieces_answer(j->x.r, 200, "application/pdf", p);
}

static void answer_html(struct job *j, const struct dset *d)
{
    CLEANUP(buf_done) struct buf out;
    struct errmsg                e = {0};
    if (!wants(j, "text/html") || wado_is_cached(j->x.r, j->tag, "html", 0)) {
        return;
    }
    buf_init(&out, LIMIT_HTML);
    enum err rc = sr_html(d, &out, &e);
    if (rc != ERR_OK) {
        http_fail(j->x.r, rc, &e);
        return;
    }
    http_add_header(j->x.r, "Content-Security-Policy",
                    STR("default-src 'none'; style-src 'unsafe-inline'; sandbox"));
    http_add_header(j->x.r, "X-Content-Type-Options", STR("nosniff"));
    http_answer_buf(j->x.r, 200, "text/html; charset=utf-8", &out);
}

static bool has_pdf(const struct job *j, const struct dset *d)
{
    const struct elem   *el = dset_find(d, DT_EncapsulatedDocument);
    const struct syntax *s = syntax_find(j->i->syntax_uid);
    return el != NULL && (!el->left_out || s == NULL || !s->deflated) &&
           str_eq(dset_str(d, DT_MIMETypeOfEncapsulatedDocument), STR("application/pdf"));
}

static void answer_document(struct job *j)
{
    CLEANUP(arena_done) struct arena mem;
    struct dset                     *d = NULL;
    struct errmsg                    e = {0};
    arena_init(&mem, LIMIT_DSET);
    enum err rc = rendered_read(j->i, LIMIT_FIND_VALUE, &mem, &d, &e);
    if (rc != ERR_OK) {
        failed(j, rc, &e);
    } else if (j->kind == RENDERED_THUMBNAIL || j->frames != NULL) {
        http_error(j->x.r, 404, "not_found", "the instance has no frames");
    } else if (has_pdf(j, d)) {
        answer_pdf(j, d);
    } else if (is_report(d)) {
        answer_html(j, d);
    } else {
        http_error(j->x.r, 406, "not_acceptable", "instances of class %.*s have no rendered form",
                   STR_ARG(j->i->class_uid));
    }
}

/* ---- an instance, its frames */

static bool frames_fit(struct job *j, const struct rendered_object *o)
{
    for (size_t k = 0; k < j->n; k++) {
        if (j->frames[k] >= o->n) {
            http_error(j->x.r, 404, "not_found", "frame %u of %u", j->frames[k] + 1, o->n);
            return false;
        }
    }
    if (j->q.frame > o->n) {
        http_error(j->x.r, 404, "not_found", "frame %u of %u", j->q.frame, o->n);
        return false;
    }
    return true;
}

static void answer_instance(struct job *j)
{
    CLEANUP(rendered_close) struct rendered_object o = {0};
    struct errmsg                                  e = {0};
    struct form                                    form;
    j->tag ^= j->i->hash;
    if (is_state(j->i) && j->kind != RENDERED_THUMBNAIL ? !look_through(j) : !take_state(j)) {
        return;
    }
    enum err rc = rendered_open(j->x.w, j->views[0], j->i, &o, &e);
    if (rc == ERR_NOTFOUND) {
        answer_document(j);
        return;
    }
    if (rc != ERR_OK) {
        failed(j, rc, &e);
        return;
    }
    bool many = j->n > 1 || (j->n == 0 && o.n > 1);
    bool multipart = j->kind == RENDERED_WEB;
    if (!frames_fit(j, &o) || !choose(j, true, multipart, &form) || cached(j, &form)) {
        return;
    }
    if (form.multipart) {
        answer_many(j, form.f);
    } else if (many && j->n > 1 && form.f != PICTURE_GIF) {
        http_error(j->x.r, 406, "not_acceptable",
                   "available of several frames: multipart/related, image/gif");
    } else {
        answer_one(j, &o, form.f);
    }
}

static void instance(struct http_request *r, struct web *w, enum rendered_kind kind)
{
    struct job j;
    bool       ok = begin(&j, r, w, kind);
    if (ok && http_param(r, "frames").ptr != NULL && !frames_list(r, &j.frames, &j.n)) {
        http_error(r, 400, "syntax", "not a list of frame numbers");
        ok = false;
    }
    j.i = ok ? wado_image(&j.x, &j.one_view[0]) : NULL;
    j.n_views = j.i != NULL;
    if (kind == RENDERED_THUMBNAIL && j.n > 1) {
        j.n = 1; // the first of a list stands for it
    }
    if (j.i != NULL) {
        answer_instance(&j);
    }
    job_done(&j);
}

/* ---- series and studies */

enum { TRIES = 16 }; // images of a series looked at for one that can be shown

static bool shown(struct job *j, struct view *v, struct rendered_object *ret)
{
    size_t n = view_count(v);
    for (size_t k = 0; k < n && k < TRIES; k++) { // from the middle on
        struct view_image *i = view_at(v, (n / 2 + k) % n);
        if (rendered_open(j->x.w, v, i, ret, NULL) == ERR_OK) {
            j->i = i;
            return true;
        }
    }
    return false;
}

static void answer_thumbnail(struct job *j)
{
    struct form form;
    if (!choose(j, true, false, &form) || cached(j, &form)) {
        return;
    }
    for (size_t v = 0; v < j->n_views; v++) {
        CLEANUP(rendered_close) struct rendered_object o = {0};
        if (shown(j, j->views[v], &o)) {
            answer_one(j, &o, form.f);
            return;
        }
    }
    http_error(j->x.r, 404, "not_found", "no image to make a thumbnail of");
}

static void group(struct http_request *r, struct web *w, enum rendered_kind kind, bool study)
{
    struct job  j;
    struct form form;
    bool        ok = begin(&j, r, w, kind);
    if (ok && study) {
        ok = wado_study(&j.x, &j.views, &j.n_views);
    } else if (ok) {
        j.one_view[0] = wado_series(&j.x);
        j.n_views = j.one_view[0] != NULL;
        ok = j.n_views == 1;
    }
    for (size_t v = 0; ok && v < j.n_views; v++) {
        j.tag = (j.tag ^ view_tag(j.views[v])) * 1099511628211U;
    }
    if (ok && kind == RENDERED_THUMBNAIL) {
        answer_thumbnail(&j);
    } else if (ok && take_state(&j) && choose(&j, false, true, &form) && !cached(&j, &form)) {
        answer_many(&j, form.f);
    }
    job_done(&j);
}

void rendered_uri(struct wado *x, struct view *v, struct view_image *i, struct str media)
{
    struct errmsg e = {0};
    struct job    j = {.x = *x, .kind = RENDERED_URI, .media = media, .i = i, .n_views = 1};
    j.views = j.one_view;
    j.one_view[0] = v;
    arena_init(&j.state_mem, LIMIT_DSET);
    if (rendered_parse(http_uri(x->r), RENDERED_URI, &j.q, &e) != ERR_OK) {
        http_error(x->r, 400, "syntax", "%s", e.text);
    } else {
        answer_instance(&j);
    }
    job_done(&j);
}

/* ---- routes */

static void get_study(struct http_request *r, void *arg)
{
    group(r, arg, RENDERED_WEB, true);
}

static void get_series(struct http_request *r, void *arg)
{
    group(r, arg, RENDERED_WEB, false);
}

static void get_instance(struct http_request *r, void *arg)
{
    instance(r, arg, RENDERED_WEB);
}

static void thumb_study(struct http_request *r, void *arg)
{
    group(r, arg, RENDERED_THUMBNAIL, true);
}

static void thumb_series(struct http_request *r, void *arg)
{
    group(r, arg, RENDERED_THUMBNAIL, false);
}

static void thumb_instance(struct http_request *r, void *arg)
{
    instance(r, arg, RENDERED_THUMBNAIL);
}

#define STUDY    "/studies/{study}"
#define SERIES   STUDY "/series/{series}"
#define INSTANCE SERIES "/instances/{instance}"
#define FRAMES   INSTANCE "/frames/{frames}"
#define ROW(path, fn)                                                                              \
    {                                                                                              \
        .blocking = true, .pattern = (path), .handle = (fn)                                        \
    }

const struct web_route rendered_routes[] = {
    ROW(STUDY "/rendered", get_study),       ROW(STUDY "/thumbnail", thumb_study),
    ROW(SERIES "/rendered", get_series),     ROW(SERIES "/thumbnail", thumb_series),
    ROW(INSTANCE "/rendered", get_instance), ROW(INSTANCE "/thumbnail", thumb_instance),
    ROW(FRAMES "/rendered", get_instance),   ROW(FRAMES "/thumbnail", thumb_instance),
};
const size_t rendered_routes_n = sizeof(rendered_routes) / sizeof(rendered_routes[0]);
