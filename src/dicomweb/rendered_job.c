#include "dicomweb/rendered_job.h"

#include <stdio.h>

#include "base/cur.h"
#include "base/num.h"
#include "dicom/tags.h"
#include "sys/file.h"

static const struct syntax *syntax_of(const struct view_image *i)
{
    const struct syntax *s = syntax_find(i->syntax_uid);
    return s != NULL ? s : &SYNTAX_EXPLICIT; // PS3.5 A.4
}

static enum err read_set(const struct view_image *i, struct parse_opts *opts, struct arena *mem,
                         struct dset **ret, struct errmsg *e)
{
    struct view_window w = view_data(i);
    struct dsrc        src = view_src(&w);
    return dset_read(&src, 0, syntax_of(i), opts, mem, ret, e);
}

enum err rendered_read(const struct view_image *i, uint32_t max, struct arena *mem,
                       struct dset **ret, struct errmsg *e)
{
    struct parse_opts opts = {.max_value = max, .lenient = LENIENT_ALL};
    return read_set(i, &opts, mem, ret, e);
}

enum err rendered_open(struct web *w, struct view *v, struct view_image *i,
                       struct rendered_object *ret, struct errmsg *e)
{
    struct rendered_object o = {.i = i};
    bool                   deflated = syntax_of(i)->deflated;
    struct parse_opts      opts = {.max_value = deflated ? LIMIT_DSET : LIMIT_VALUE,
                                   .stop_tag = deflated ? 0 : DT_FloatPixelData,
                                   .lenient = LENIENT_ALL};
    arena_init(&o.mem, LIMIT_DSET);
    enum err rc = read_set(i, &opts, &o.mem, &o.d, e);
    rc = rc == ERR_OK ? image_of(o.d, &o.image, &o.n, e) : rc;
    if (rc == ERR_OK && !deflated) {
        rc = view_frames(w->archive, v, i, &o.frames, e);
        o.n = rc == ERR_OK && o.frames->n < o.n ? o.frames->n : o.n; // one that was cut short
    }
    if (rc == ERR_OK && o.n == 0) {
        rc = err_set(e, ERR_SYNTAX, "an image without a whole frame");
    }
    if (rc != ERR_OK) {
        arena_done(&o.mem);
        return rc;
    }
    *ret = o;
    return ERR_OK;
}

void rendered_close(struct rendered_object *o)
{
    arena_done(&o->mem);
}

/* ---- frames as they lie */

static enum err put_range(const struct view_image *i, uint64_t at, uint64_t len, struct buf *to,
                          struct errmsg *e)
{
    uint8_t *p = len <= to->max ? buf_grow(to, (size_t)len) : NULL;
    if (p == NULL) {
        return err_set(e, ERR_LIMIT, "a frame of %llu bytes", (unsigned long long)len);
    }
    return file_read_full(view_fd(i), at, p, (size_t)len, e);
}

static enum err put_fragments(const struct view_image *i, const struct view_frame *f,
                              struct buf *to, struct errmsg *e)
{
    uint64_t at = 0, offset = 0, len = 1;
    enum err rc = ERR_OK;
    while (rc == ERR_OK && len > 0) {
        rc = view_frame_piece(i, f, &at, &offset, &len, e);
        rc = rc == ERR_OK && len > 0 ? put_range(i, offset, len, to, e) : rc;
    }
    return rc;
}

/* Frames of 1-bit pixels may begin within a byte. */
static void align(uint8_t *p, size_t n, unsigned bit)
{
    for (size_t k = 0; bit > 0 && k < n; k++) {
        unsigned next = k + 1 < n ? p[k + 1] : 0;
        p[k] = (uint8_t)((unsigned)p[k] >> bit | next << (8 - bit));
    }
}

static enum err put_deflated(const struct rendered_object *o, uint32_t frame, struct buf *to,
                             struct errmsg *e)
{
    const struct elem *el = dset_find(o->d, DT_PixelData);
    struct bytes       all = el != NULL ? el->value : (struct bytes){0};
    size_t             n = 0, at = 0;
    enum err           rc = image_bytes(&o->image, &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (o->image.allocated == 1 || !size_mul(n, frame, &at) || at > all.len || n > all.len - at) {
        return err_set(e, ERR_UNSUPPORTED, "the deflated object is too large to be rendered");
    }
    struct cur c = cur_of(all);
    (void)cur_bytes(&c, at);
    buf_add(to, cur_bytes(&c, n));
    return ERR_OK;
}

static enum err put_frame(const struct rendered_object *o, uint32_t frame, struct buf *job,
                          struct errmsg *e)
{
    render_job_frame(job, frame, 0);
    size_t at = job->len;
    if (o->frames == NULL) {
        enum err rc = put_deflated(o, frame, job, e);
        buf_patch_u32le(job, at - 4, (uint32_t)(job->len - at));
        return rc;
    }
    const struct view_frame *f = &o->frames->v[frame];
    enum err                 rc =
        f->fragments > 1 ? put_fragments(o->i, f, job, e) : put_range(o->i, f->at, f->len, job, e);
    if (rc == ERR_OK && job->err == ERR_OK) {
        align(job->ptr + at, job->len - at, f->bit);
        buf_patch_u32le(job, at - 4, (uint32_t)(job->len - at));
    }
    return rc;
}

/* ---- which frames of an animation: not too many, not too much of them */

struct choice {
    uint32_t *v;
    size_t    n, every;
};

static uint64_t frame_len(const struct rendered_object *o, uint32_t frame)
{
    size_t n = 0;
    if (o->frames != NULL) {
        return o->frames->v[frame].len;
    }
    (void)!image_bytes(&o->image, &n, NULL);
    return n;
}

static enum err choose(const struct rendered_object *o, const struct rendered_want *want,
                       struct arena *mem, struct choice *ret, struct errmsg *e)
{
    size_t   all = want->frames != NULL ? want->n : o->n;
    uint64_t bytes = 0;
    for (size_t k = 0; k < all; k++) {
        bytes += frame_len(o, want->frames != NULL ? want->frames[k] : (uint32_t)k);
    }
    uint64_t by_bytes = bytes / LIMIT_CINE_BYTES + 1;
    size_t   every = (all + LIMIT_CINE_FRAMES - 1) / LIMIT_CINE_FRAMES;
    every = every < by_bytes ? (size_t)by_bytes : every;
    struct choice c = {.v = arena_array(mem, all / every + 1, uint32_t), .every = every};
    if (c.v == NULL) {
        return err_set(e, ERR_LIMIT, "%zu frames", all);
    }
    for (size_t k = 0; k < all; k += every) {
        c.v[c.n++] = want->frames != NULL ? want->frames[k] : (uint32_t)k;
    }
    *ret = c;
    return ERR_OK;
}

static enum err make_job(const struct rendered_object *o, const struct rendered_want *want,
                         const struct choice *c, struct buf *job, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    struct dset                     *lean = NULL;
    arena_init(&mem, LIMIT_DSET);
    enum err rc = render_lean(o->d, c->v, c->n, &mem, &lean, e);
    rc = rc == ERR_OK ? render_job_write(job, lean, want->state, e) : rc;
    for (size_t k = 0; rc == ERR_OK && k < c->n; k++) {
        rc = put_frame(o, c->v[k], job, e);
    }
    return rc == ERR_OK && job->err != ERR_OK
               ? err_set(e, job->err, "the image is too large to be rendered")
               : rc;
}

enum err rendered_make(struct web *w, const struct rendered_object *o,
                       const struct rendered_want *want, struct buf *out, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     job;
    struct choice                    c = {0};
    struct render_opts               opts;
    struct render_size               size;
    arena_init(&mem, LIMIT_HTTP_ARENA);
    buf_init(&job, LIMIT_PIXEL_MAP);
    if (w->pixel == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "no pixel workers run here");
    }
    enum err rc = rendered_fit(want->q, &o->image, &opts, e);
    rc = rc == ERR_OK ? choose(o, want, &mem, &c, e) : rc;
    rc = rc == ERR_OK ? make_job(o, want, &c, &job, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    struct render_args a = render_args_of(&opts, want->format);
    uint32_t           delay = render_delay_ms(o->d);
    a.delay_ms = c.n > 1 ? (delay > 0 ? delay : 100) * (uint32_t)c.every : 0;
    (void)snprintf(a.syntax, sizeof(a.syntax), "%.*s", STR_ARG(o->i->syntax_uid));
    return pixel_render(w->pixel, &a, (struct bytes){job.ptr, job.len}, &size, out, e);
}
