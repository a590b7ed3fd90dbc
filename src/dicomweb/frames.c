/* WADO-RS frames, PS3.18 10.4.1.1.6: ranges of packs. */

#include "dicomweb/frames.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/num.h"
#include "dicomweb/convert.h"
#include "dicomweb/recode.h"
#include "sys/file.h"

#define EXPLICIT "1.2.840.10008.1.2.1"

struct job {
    struct wado              *x;
    struct view              *v;
    struct view_image        *i;
    const struct view_frames *frames;
    const uint32_t           *list; // from 0; NULL: all
    size_t                    n;
    const struct syntax      *stored;
    const char               *media; // of the stored frames; NULL: they cannot be sent so
};

/* ---- which form */

static bool is_native(const struct job *j)
{
    return j->stored == NULL || !j->stored->encapsulated;
}

struct target {
    const char *syntax, *media;
};

/* What frames can be coded in: the default of each media type, PS3.18 table 8.7.3-4, and HTJ2K RPCL
 * for who asks for it by name. */
static const struct target targets[] = {
    {EXPLICIT, "application/octet-stream"},     {"1.2.840.10008.1.2.4.201", "image/jphc"},
    {"1.2.840.10008.1.2.4.202", "image/jphc"},  {"1.2.840.10008.1.2.4.80", "image/jls"},
    {"1.2.840.10008.1.2.4.90", "image/jp2"},    {"1.2.840.10008.1.2.4.70", "image/jpeg"},
    {"1.2.840.10008.1.2.5", "image/dicom-rle"},
};

enum { TARGETS = sizeof(targets) / sizeof(targets[0]), OFFERS = 2 * (TARGETS + 2) };

struct offers {
    struct accept_offer to[OFFERS];
    bool                stored[OFFERS]; // as they lie
    size_t              n;
};

static void offer(struct offers *o, const char *media, const char *syntax, bool by_default,
                  bool multipart)
{
    o->to[o->n++] = (struct accept_offer){
        .media = media, .syntax = syntax, .by_default = by_default, .multipart = multipart};
}

/*
 * As they lie first.  Viewers ask for application/octet-stream; transfer-syntax=* and mean the
 * stored frame, whatever it is.
 */
static void offer_all(const struct job *j, struct offers *o, bool multipart)
{
    const char *stored = is_native(j) ? EXPLICIT : j->i->syntax_uid.ptr;
    size_t      first = o->n;
    if (j->media != NULL) {
        offer(o, j->media, stored, true, multipart);
    }
    if (j->media != NULL && !is_native(j)) {
        offer(o, "application/octet-stream", stored, false, multipart);
    }
    for (size_t i = first; i < o->n; i++) {
        o->stored[i] = true;
    }
    for (size_t i = 0; i < TARGETS; i++) {
        struct str to = str_of(targets[i].syntax);
        bool       same = j->media != NULL && strcmp(stored, targets[i].syntax) == 0;
        if (!same && j->x->w->pixel != NULL && is_recodable(j->x->w, j->i->syntax_uid, to)) {
            bool rpcl = i == 2;
            offer(o, targets[i].media, targets[i].syntax, !rpcl, multipart);
        }
    }
}

/* ---- as stored */

/* Pixels of a multi-frame image of 1 bit, whose frames begin within bytes; else 0. */
static uint64_t odd_pixels(const struct job *j)
{
    const struct view_frame *v = j->frames->v;
    bool                     odd = j->frames->n > 1 && v[1].bit != 0;
    return odd ? (v[1].at - v[0].at) * 8 + v[1].bit : 0;
}

static uint32_t number_at(const struct job *j, size_t k)
{
    return j->list != NULL ? j->list[k] : (uint32_t)k;
}

static const struct view_frame *frame_at(const struct job *j, size_t k)
{
    return &j->frames->v[number_at(j, k)];
}

/* The fragments of a frame, without their headers. */
static enum err put_fragments(struct job *j, struct pieces *p, const struct view_frame *f,
                              struct errmsg *e)
{
    uint64_t at = 0, offset = 0, len = 1;
    enum err rc = ERR_OK;
    while (rc == ERR_OK && len > 0) {
        rc = view_frame_piece(j->i, f, &at, &offset, &len, e);
        if (rc == ERR_OK) {
            pieces_file(p, view_fd(j->i), offset, len);
        }
    }
    return rc;
}

/* A frame of 1-bit pixels that begins or ends within a byte: moved to where a byte begins. */
static enum err put_bits(struct job *j, struct pieces *p, const struct view_frame *f,
                         struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    uint64_t                     pixels = odd_pixels(j);
    size_t                       n = (size_t)((pixels + 7) / 8);
    buf_init(&b, LIMIT_FRAME);
    uint8_t *to = f->len <= LIMIT_FRAME / 2 ? buf_grow(&b, (size_t)f->len + 1) : NULL;
    if (to == NULL) {
        return err_set(e, ERR_LIMIT, "a frame of %" PRIu64 " bytes", f->len);
    }
    to[f->len] = 0;
    enum err rc = file_read_full(view_fd(j->i), f->at, to, (size_t)f->len, e);
    for (size_t k = 0; rc == ERR_OK && k < f->len; k++) {
        to[k] = (uint8_t)((unsigned)to[k] >> f->bit | (unsigned)to[k + 1] << (8 - f->bit));
    }
    n = n < f->len ? n : (size_t)f->len;
    if (rc == ERR_OK && n > 0 && pixels % 8 != 0) {
        to[n - 1] &= (uint8_t)((1U << pixels % 8) - 1);
    }
    b.len = n;
    pieces_buf(p, &b);
    return rc;
}

/* It is sent as it lies. */
static bool is_range(const struct job *j, const struct view_frame *f)
{
    return f->fragments <= 1 && odd_pixels(j) == 0;
}

static enum err put_frame(struct job *j, struct pieces *p, size_t k, struct errmsg *e)
{
    const struct view_frame *f = frame_at(j, k);
    if (is_range(j, f)) {
        pieces_file(p, view_fd(j->i), f->at, f->len);
        return ERR_OK;
    }
    return f->fragments > 1 ? put_fragments(j, p, f, e) : put_bits(j, p, f, e);
}

static enum err put_all(struct job *j, struct pieces *p, const char *boundary, const char *type,
                        struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    enum err                     rc = ERR_OK;
    struct str                   url = instance_url(j->x, j->i);
    buf_init(&b, 1024);
    for (size_t k = 0; rc == ERR_OK && k < j->n; k++) {
        frame_head(&b, boundary, k == 0, type, url, number_at(j, k));
        pieces_buf(p, &b);
        rc = put_frame(j, p, k, e);
    }
    multipart_tail(&b, boundary);
    pieces_buf(p, &b);
    return rc;
}

static void answer_stored(struct job *j, bool multipart)
{
    CLEANUP(buf_done) struct buf whole;
    char                         type[128], boundary[MULTIPART_BOUNDARY];
    struct errmsg                e = {0};
    struct pieces               *p = pieces_new();
    if (p == NULL) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    frame_type(j->media, is_native(j) ? EXPLICIT : j->i->syntax_uid.ptr, type);
    buf_init(&whole, 512);
    enum err rc = ERR_OK;
    if (multipart) {
        multipart_boundary((struct bytes){(const uint8_t *)&j->i->hash, sizeof(j->i->hash)},
                           boundary);
        multipart_type(&whole, boundary, j->media);
        buf_u8(&whole, 0);
        rc = put_all(j, p, boundary, type, &e);
    } else {
        rc = put_frame(j, p, 0, &e);
    }
    if (rc != ERR_OK) {
        pieces_free(p);
        http_fail(j->x->r, rc, &e);
        return;
    }
    pieces_keep(p, j->v);
    j->v = NULL;
    pieces_answer(j->x->r, 200, multipart ? (const char *)whole.ptr : type, p);
}

/* ---- one answer */

static void not_frames(struct job *j, enum err rc, const struct errmsg *e)
{
    if (rc == ERR_NOTFOUND) {
        http_error(j->x->r, 404, "not_found", "%s", e->text);
    } else if (rc == ERR_SYNTAX) { // the object's fault, not the client's
        http_error(j->x->r, 406, "not_acceptable", "%s", e->text);
    } else {
        http_fail(j->x->r, rc, e);
    }
}

/* Where they lie.  ERR_MORE: the loop may not look. */
static enum err find(struct job *j, struct errmsg *e)
{
    j->frames = view_frames_peek(j->i);
    if (j->frames == NULL) {
        enum err rc =
            j->x->may_wait ? view_frames(j->x->w->archive, j->v, j->i, &j->frames, e) : ERR_MORE;
        if (rc != ERR_OK) {
            return rc;
        }
    }
    j->n = j->list != NULL ? j->n : j->frames->n;
    for (size_t k = 0; k < j->n; k++) {
        if (number_at(j, k) >= j->frames->n) {
            return err_set(e, ERR_NOTFOUND, "frame %u of %u", number_at(j, k) + 1, j->frames->n);
        }
        if (!j->x->may_wait && !is_range(j, frame_at(j, k))) {
            return ERR_MORE;
        }
    }
    return ERR_OK;
}

static uint32_t list_hash(const struct job *j)
{
    uint32_t h = 2166136261U;
    for (size_t k = 0; k < j->n; k++) {
        h = (h ^ number_at(j, k)) * 16777619U;
    }
    return h;
}

static void send(struct job *j, const struct offers *o, size_t at)
{
    /* A range of one frame is one of its own bytes, not of a multipart: viewers that read by
     * resolution level ask for the former and accept the latter. */
    bool ranged = j->n == 1 && http_header(j->x->r, "Range").ptr != NULL;
    bool multipart = o->to[at].multipart && !ranged;
    char form[128];
    (void)snprintf(form, sizeof(form), "%08" PRIx32 ".%zu%s%s", list_hash(j), j->n,
                   multipart ? "m" : "", o->stored[at] ? "" : o->to[at].syntax);
    if (wado_is_cached(j->x->r, j->i->hash, form, LIMIT_FRAME_AGE_S)) {
        return;
    }
    if (o->stored[at]) {
        answer_stored(j, multipart);
        return;
    }
    const struct recode how = {.list = j->list,
                               .n = j->n,
                               .target = o->to[at].syntax,
                               .media = o->to[at].media,
                               .multipart = multipart};
    recode_answer(j->x, j->v, j->i, &how);
    j->v = NULL;
}

/* ERR_MORE: the loop must not decode. */
static enum err answer(struct job *j)
{
    struct offers o = {.n = 0};
    size_t        at = 0;
    offer_all(j, &o, true);
    if (j->n == 1) {
        offer_all(j, &o, false);
    }
    if (o.n == 0) {
        http_error(j->x->r, 406, "not_acceptable", "no media type for frames in %.*s",
                   STR_ARG(j->i->syntax_uid));
    } else if (wado_choose(j->x->r, o.to, o.n, &at)) {
        if (!o.stored[at] && !j->x->may_wait) {
            return ERR_MORE;
        }
        send(j, &o, at);
    }
    return ERR_OK;
}

/* How the frames lie, if they do. */
static enum err look(struct job *j, struct errmsg *e)
{
    j->stored = syntax_find(j->i->syntax_uid);
    enum err rc = find(j, e);
    bool     deflated = j->stored != NULL && j->stored->deflated;
    if (rc == ERR_UNSUPPORTED && deflated && j->list != NULL) { // nowhere, but can be made
        *e = (struct errmsg){0};
        return ERR_OK;
    }
    if (rc == ERR_OK && is_native(j)) {
        bool big = j->stored != NULL && j->stored->big_endian;
        j->media = big ? NULL : "application/octet-stream";
    } else if (rc == ERR_OK) {
        j->media = frame_media(j->i->syntax_uid);
    }
    return rc;
}

enum err frames_answer(struct wado *x, struct view *v, struct view_image *i, const uint32_t *list,
                       size_t n, struct errmsg *e)
{
    struct job j = {.x = x, .v = v, .i = i, .list = list, .n = n};
    enum err   rc = look(&j, e);
    if (rc == ERR_OK) {
        rc = answer(&j);
    } else if (rc != ERR_UNSUPPORTED && rc != ERR_MORE) {
        not_frames(&j, rc, e);
        rc = ERR_OK;
    }
    if (rc == ERR_OK) {
        view_unref(j.v);
    }
    return rc;
}

/* ---- of a list in the path */

/* "1,2,7": 1 and up, PS3.18 10.4.1.1.6. */
bool frames_list(struct http_request *r, uint32_t **ret, size_t *ret_n)
{
    struct str s = http_param(r, "frames");
    size_t     most = 1, k = 0;
    for (size_t i = 0; i < s.len; i++) {
        most += s.ptr[i] == ',';
    }
    uint32_t *list = arena_array(http_arena(r), most, uint32_t);
    while (list != NULL && k < most) {
        const char *end = memchr(s.ptr, ',', s.len);
        size_t      n = end != NULL ? (size_t)(end - s.ptr) : s.len;
        uint32_t    frame = 0;
        if (!parse_u32((struct str){s.ptr, n}, &frame) || frame == 0) {
            return false;
        }
        list[k++] = frame - 1;
        n += end != NULL;
        s = (struct str){s.ptr + n, s.len - n};
    }
    *ret = list;
    *ret_n = k;
    return list != NULL;
}

static void frames(struct http_request *r, struct web *w, bool may_wait)
{
    struct wado   x;
    struct view  *v = NULL;
    struct errmsg e = {0};
    uint32_t     *list = NULL;
    size_t        n = 0;
    if (!wado_begin(&x, w, r, may_wait)) {
        return;
    }
    if (!frames_list(r, &list, &n)) {
        http_error(r, 400, "syntax", "not a list of frame numbers");
        return;
    }
    struct view_image *i = wado_image(&x, &v);
    enum err           rc = i != NULL ? frames_answer(&x, v, i, list, n, &e) : ERR_OK;
    if (rc == ERR_UNSUPPORTED) {
        http_error(r, 406, "not_acceptable", "%s", e.text);
    }
    if (rc != ERR_OK) {
        view_unref(v);
    }
}

static void get_frames(struct http_request *r, void *arg)
{
    frames(r, arg, true);
}

static void begin_frames(struct http_request *r, void *arg)
{
    frames(r, arg, false);
}

const struct web_route frame_routes[] = {
    {.blocking = true,
     .pattern = "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
     .handle = get_frames,
     .begin = begin_frames},
};
const size_t frame_routes_n = sizeof(frame_routes) / sizeof(frame_routes[0]);
