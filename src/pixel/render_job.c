#include "pixel/render_job.h"

#include <inttypes.h>
#include <math.h>

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "dicom/tags.h"

struct render_args render_args_of(const struct render_opts *o, enum picture_format f)
{
    return (struct render_args){
        .center = o->center,
        .width = o->width,
        .x = o->x,
        .y = o->y,
        .w = o->w,
        .h = o->h,
        .has_window = o->has_window,
        .function = o->function,
        .view_w = o->view_w,
        .view_h = o->view_h,
        .quality = o->quality,
        .format = f,
    };
}

/* ---- lean data sets */

static bool is_needed(uint32_t tag)
{
    uint16_t g = tag_group(tag);
    return g == 0x0028 || g == 0x2050 || (g >= 0x6000 && g <= 0x601F && g % 2 == 0) ||
           (tag >= DT_ShutterShape && tag <= TAG(0x0018, 0x1623)) || tag == DT_SOPInstanceUID ||
           tag == DT_SpecificCharacterSet || tag == DT_ImagerPixelSpacing ||
           tag == DT_NominalScannedPixelSpacing || tag == DT_SharedFunctionalGroupsSequence;
}

/* Macros that change how a frame looks. */
static const uint32_t macros[] = {DT_PixelValueTransformationSequence, DT_FrameVOILUTSequence,
                                  DT_PixelMeasuresSequence};

static enum err lean_item(const struct dset *from, struct dset *to)
{
    enum err rc = ERR_OK;
    for (size_t m = 0; m < sizeof(macros) / sizeof(macros[0]) && rc == ERR_OK; m++) {
        const struct elem *el = dset_find(from, macros[m]);
        rc = el != NULL ? dset_copy(to, from, el) : ERR_OK;
    }
    return rc;
}

static enum err lean_frames(const struct dset *d, const uint32_t *frames, size_t n, struct dset *to)
{
    const struct elem *el = dset_find(d, DT_PerFrameFunctionalGroupsSequence);
    enum err           rc = ERR_OK;
    for (size_t i = 0; el != NULL && i < n && rc == ERR_OK; i++) {
        struct dset *item;
        rc = dset_put_item(to, DT_PerFrameFunctionalGroupsSequence, &item);
        if (rc == ERR_OK && frames[i] < el->n_items) {
            rc = lean_item(el->items[frames[i]], item);
        }
    }
    return rc;
}

enum err render_lean(const struct dset *d, const uint32_t *frames, size_t n, struct arena *a,
                     struct dset **ret, struct errmsg *e)
{
    struct dset *to = dset_new(a);
    enum err     rc = to != NULL ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < d->n && rc == ERR_OK; i++) {
        const struct elem *el = &d->elems[i];
        if (is_needed(el->tag) && !el->left_out) {
            rc = dset_copy(to, d, el);
        }
    }
    rc = rc == ERR_OK ? lean_frames(d, frames, n, to) : rc;
    if (rc != ERR_OK) {
        return err_set(e, rc, "the attributes of the image are too many");
    }
    *ret = to;
    return ERR_OK;
}

/* ---- the job as bytes: length and data set, twice; then number, length and stream of frames */

static enum err write_dset(struct buf *to, const struct dset *d, struct errmsg *e)
{
    size_t at = to->len;
    buf_u32le(to, 0);
    enum err rc = d != NULL ? dset_write(d, &SYNTAX_EXPLICIT, false, to, e) : ERR_OK;
    if (rc == ERR_OK && to->err != ERR_OK) {
        rc = err_set(e, to->err, "the attributes of the image are too many");
    }
    if (rc == ERR_OK) {
        buf_patch_u32le(to, at, (uint32_t)(to->len - at - 4));
    }
    return rc;
}

enum err render_job_write(struct buf *to, const struct dset *lean, const struct dset *state,
                          struct errmsg *e)
{
    enum err rc = write_dset(to, lean, e);
    return rc == ERR_OK ? write_dset(to, state, e) : rc;
}

void render_job_frame(struct buf *to, uint32_t number, uint32_t len)
{
    buf_u32le(to, number);
    buf_u32le(to, len);
}

/* ---- running it */

struct job {
    const struct render_args *a;
    struct render_opts        o;
    struct render_source      s;
    struct image              said;
    struct str                syntax_uid;
    const struct syntax      *syntax;
    render_decoder           *decode;
    struct cur                frames;
};

static enum err read_dset(struct cur *c, struct arena *mem, struct dset **ret, struct errmsg *e)
{
    struct parse_opts o = {.lenient = LENIENT_ALL, .max_value = LIMIT_DSET};
    uint32_t          n = cur_u32le(c);
    struct bytes      b = cur_bytes(c, n);
    *ret = NULL;
    if (c->err != ERR_OK) {
        return err_set(e, ERR_SYNTAX, "a job of rendering is cut short");
    }
    return n > 0 ? dset_parse(b, &SYNTAX_EXPLICIT, &o, mem, ret, e) : ERR_OK;
}

static bool is_opts(const struct render_args *a)
{
    double all = a->center + a->width + a->x + a->y + a->w + a->h;
    return isfinite(all) && a->has_window <= 1 && a->function < VOI__COUNT &&
           a->format < PICTURE__COUNT && a->quality <= 100 && (a->has_window == 0 || a->width > 0);
}

static enum err begin(struct job *j, struct bytes in, struct arena *mem, struct errmsg *e)
{
    struct dset              *d, *state = NULL;
    uint32_t                  n;
    const struct render_args *a = j->a;
    if (!is_opts(a)) {
        return err_set(e, ERR_SYNTAX, "a job of rendering that is none");
    }
    j->frames = cur_of(in);
    j->syntax_uid = (struct str){a->syntax, strnlen(a->syntax, sizeof(a->syntax))};
    j->syntax = syntax_find(j->syntax_uid);
    j->o = (struct render_opts){.has_window = a->has_window == 1,
                                .center = a->center,
                                .width = a->width,
                                .function = (enum voi_function)a->function,
                                .view_w = a->view_w,
                                .view_h = a->view_h,
                                .x = a->x,
                                .y = a->y,
                                .w = a->w,
                                .h = a->h,
                                .quality = a->quality};
    enum err rc = read_dset(&j->frames, mem, &d, e);
    rc = rc == ERR_OK ? read_dset(&j->frames, mem, &state, e) : rc;
    if (rc == ERR_OK && d == NULL) {
        return err_set(e, ERR_SYNTAX, "a job of rendering without an image");
    }
    rc = rc == ERR_OK ? image_of(d, &j->said, &n, e) : rc;
    j->s = (struct render_source){.d = d, .state = state};
    return rc;
}

/* Big endian, PS3.5 A.3: words of 16 bits, or of the sample when that is longer. */
static enum err swapped(const struct image *i, struct bytes in, struct buf *out)
{
    size_t   unit = i->allocated / 8U;
    uint8_t *to = buf_grow(out, in.len);
    for (size_t k = 0; to != NULL && k < in.len; k++) {
        size_t mirror = k / unit * unit + (unit - 1 - k % unit);
        to[k] = mirror < in.len ? in.ptr[mirror] : 0;
    }
    return out->err;
}

static enum err native(const struct job *j, struct bytes in, struct image *ret,
                       struct bytes *ret_pixels, struct buf *mem)
{
    *ret = j->said;
    *ret_pixels = in;
    if (j->syntax == NULL || !j->syntax->big_endian || j->said.allocated <= 8) {
        return ERR_OK;
    }
    enum err rc = swapped(&j->said, in, mem);
    return rc == ERR_OK ? buf_end(mem, ret_pixels) : rc;
}

/* ERR_NOTFOUND: no more frames. */
static enum err next(struct job *j, struct picture *ret, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf mem;
    struct image                 i;
    struct bytes                 pixels;
    buf_init(&mem, LIMIT_FRAME);
    if (cur_left(&j->frames) == 0) {
        return ERR_NOTFOUND;
    }
    j->s.frame = cur_u32le(&j->frames);
    uint32_t     n = cur_u32le(&j->frames);
    struct bytes in = cur_bytes(&j->frames, n);
    if (j->frames.err != ERR_OK) {
        return err_set(e, ERR_SYNTAX, "a job of rendering is cut short");
    }
    enum err rc;
    if (j->syntax != NULL && j->syntax->encapsulated) {
        rc = j->decode != NULL ? j->decode(j->syntax_uid, &j->said, in, &i, &mem, e)
                               : err_set(e, ERR_UNSUPPORTED, "no decoder");
        rc = rc == ERR_OK ? buf_end(&mem, &pixels) : rc;
    } else {
        rc = native(j, in, &i, &pixels, &mem);
    }
    rc = rc == ERR_OK ? render_frame(&j->s, &i, pixels, &j->o, ret, e) : rc;
    j->s.item++;
    return rc;
}

static enum err cine(struct job *j, const struct picture *first, struct buf *out, struct errmsg *e)
{
    struct picture_gif g;
    bool               moves = cur_left(&j->frames) > 0;
    enum err           rc = picture_gif_begin(&g, first->w, first->h, moves, out, e);
    rc = rc == ERR_OK ? picture_gif_add(&g, first, j->a->delay_ms, e) : rc;
    while (rc == ERR_OK) {
        CLEANUP(picture_done) struct picture p = {0};
        rc = next(j, &p, e);
        if (rc == ERR_NOTFOUND) {
            break;
        }
        rc = rc == ERR_OK ? picture_gif_add(&g, &p, j->a->delay_ms, e) : rc;
    }
    enum err end = picture_gif_end(&g, rc == ERR_NOTFOUND ? e : NULL);
    return rc != ERR_OK && rc != ERR_NOTFOUND ? rc : end;
}

enum err render_job_run(const struct render_args *a, struct bytes in, render_decoder *decode,
                        struct render_size *ret, struct buf *out, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena     mem;
    CLEANUP(picture_done) struct picture p = {0};
    struct job                           j = {.a = a, .decode = decode};
    arena_init(&mem, LIMIT_DSET);
    enum err rc = begin(&j, in, &mem, e);
    rc = rc == ERR_OK ? next(&j, &p, e) : rc;
    if (rc == ERR_NOTFOUND) {
        return err_set(e, ERR_SYNTAX, "a job of rendering without frames");
    }
    if (rc != ERR_OK) {
        return rc;
    }
    rc = a->format == PICTURE_GIF
             ? cine(&j, &p, out, e)
             : picture_write(&p, (enum picture_format)a->format, a->quality, out, e);
    if (rc == ERR_OK && out->err != ERR_OK) {
        rc = err_set(e, out->err, "the picture is too large");
    }
    if (rc == ERR_OK) {
        *ret = (struct render_size){p.w, p.h};
    }
    return rc;
}
