/* WADO-RS bulk data, PS3.18 10.4.1.1.5: the values that metadata names by BulkDataURI. */
#include <stdio.h>

#include "base/num.h"
#include "dicom/part10.h"
#include "dicom/tags.h"
#include "dicomweb/frames.h"
#include "http/multipart.h"
#include "sys/file.h"

enum { STEPS = 2 * LIMIT_SQ_DEPTH + 1, ITEM_HEAD = 8 };

/* "00409096/2/0040A730": sequence, item from 1, element. */
struct place {
    uint32_t tag[LIMIT_SQ_DEPTH + 1];
    uint32_t item[LIMIT_SQ_DEPTH];
    size_t   depth;
};

struct value {
    const struct elem *el;
    const struct dset *in; // what it is an element of
    bool               in_file;
    uint64_t           at, len; // in the pack
    struct bytes       mem;
};

/* ---- which value */

static bool step_parse(struct str s, unsigned base, uint32_t *ret)
{
    uint64_t v = 0;
    if ((base == 16 && s.len != 8) || !parse_u64_base(s, base, &v) || v > UINT32_MAX) {
        return false;
    }
    *ret = (uint32_t)v;
    return true;
}

static bool place_parse(struct str s, struct place *p)
{
    for (size_t i = 0; i < STEPS; i++) {
        const char *end = memchr(s.ptr, '/', s.len);
        struct str  one = {s.ptr, end != NULL ? (size_t)(end - s.ptr) : s.len};
        bool        tag = i % 2 == 0;
        if (!step_parse(one, tag ? 16 : 10, tag ? &p->tag[i / 2] : &p->item[i / 2])) {
            return false;
        }
        if (end == NULL) {
            p->depth = i / 2;
            return tag;
        }
        s = (struct str){end + 1, s.len - one.len - 1};
    }
    return false;
}

static bool walk(const struct dset *d, const struct place *p, struct value *v)
{
    for (size_t i = 0; i < p->depth; i++) {
        const struct elem *sq = dset_find(d, p->tag[i]);
        if (sq == NULL || sq->items == NULL || p->item[i] == 0 || p->item[i] > sq->n_items) {
            return false;
        }
        d = sq->items[p->item[i] - 1];
    }
    v->in = d;
    v->el = dset_find(d, p->tag[p->depth]);
    return v->el != NULL && v->el->items == NULL;
}

/* The data set with what is needed of it in memory: values that lie in the file as they are wanted
 * stay there, others (big endian, deflated) are read. */
static enum err read_value(const struct view_image *i, const struct place *p, struct arena *mem,
                           struct value *v, struct errmsg *e)
{
    const struct syntax *s = syntax_find(i->syntax_uid);
    struct view_window   w = view_file(i);
    struct dsrc          src = view_src(&w);
    struct part10_meta   meta = {0};
    struct parse_opts    opts = {.max_value = MODEL_VALUE, .lenient = LENIENT_ALL};
    struct dset         *d = NULL;
    bool                 lies = s == NULL || (!s->big_endian && !s->deflated);
    opts.max_value = lies ? MODEL_VALUE : LIMIT_VALUE;
    enum err rc = part10_read(&src, &opts, mem, &meta, &d, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (!walk(d, p, v)) {
        return err_set(e, ERR_NOTFOUND, "no such value");
    }
    if (v->el->left_out && !v->el->encapsulated) {
        if (!lies) {
            return err_set(e, ERR_LIMIT, "a value of %llu bytes that must be converted",
                           (unsigned long long)v->el->len);
        }
        v->in_file = true;
        v->at = i->at + v->el->offset;
        v->len = v->el->offset < i->size ? i->size - v->el->offset : 0; // cut short by the sender
        v->len = v->el->len < v->len ? v->el->len : v->len;
    }
    v->mem = v->el->value;
    return ERR_OK;
}

/* ---- what it is sent as */

/* An encapsulated document says what it is; only types that a browser does not run scripts of are
 * believed. */
static const char *document_media(const struct value *v)
{
    static const char *const safe[] = {"application/pdf", "model/stl",  "model/obj",
                                       "model/mtl",       "image/jpeg", "image/png"};

    if (v->el == NULL) {
        return NULL;
    }
    struct str said = dset_str(v->in, DT_MIMETypeOfEncapsulatedDocument);
    for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++) {
        if (v->el->tag == DT_EncapsulatedDocument && str_eq(said, str_of(safe[i]))) {
            return safe[i];
        }
    }
    return NULL;
}

struct job {
    struct wado             *x;
    struct view             *v;
    const struct view_image *i;
    struct pieces           *p;
};

static void send(struct job *j, const char *media, bool multipart)
{
    CLEANUP(buf_done) struct buf b;
    char                         boundary[MULTIPART_BOUNDARY];
    const struct http_pair       pair = {STR("Content-Type"), str_of(media)};
    struct pieces               *all = multipart ? pieces_new() : j->p;
    if (all == NULL) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    http_add_header(j->x->r, "X-Content-Type-Options", STR("nosniff"));
    buf_init(&b, 1024);
    if (multipart) {
        multipart_boundary((struct bytes){(const uint8_t *)&j->i->hash, sizeof(j->i->hash)},
                           boundary);
        multipart_head(&b, boundary, true, &pair, 1);
        pieces_buf(all, &b);
        pieces_take(all, j->p);
        multipart_tail(&b, boundary);
        pieces_buf(all, &b);
        multipart_type(&b, boundary, media);
    } else {
        buf_str(&b, str_of(media));
    }
    buf_u8(&b, 0);
    pieces_keep(all, j->v);
    j->v = NULL;
    j->p = NULL;
    pieces_answer(j->x->r, 200, b.err == ERR_OK ? (const char *)b.ptr : NULL, all);
}

static void choose_and_send(struct job *j, const char *media)
{
    const struct accept_offer offers[] = {
        {.media = media != NULL ? media : "application/octet-stream"},
        {.media = media != NULL ? media : "application/octet-stream", .multipart = true},
        {.media = "application/octet-stream"},
        {.media = "application/octet-stream", .multipart = true},
    };
    size_t at = 0;
    if (!wado_choose(j->x->r, offers, 4, &at)) {
        return;
    }
    bool ranged = http_header(j->x->r, "Range").ptr != NULL;
    bool multipart = offers[at].multipart && !ranged; // a range is of the value's own bytes
    char form[64];
    (void)snprintf(form, sizeof(form), "b%s%s", multipart ? "m" : "", at < 2 ? "" : "o");
    if (!wado_is_cached(j->x->r, j->i->hash, form, 0)) {
        send(j, offers[at].media, multipart);
    }
}

/* ---- pixels in fragments whose frames cannot be told apart: one stream (video) */

static enum err put_stream(struct job *j, const struct elem *el, struct errmsg *e)
{
    uint64_t at = j->i->at + el->offset, end = j->i->at + j->i->size;
    for (bool table = true; at + ITEM_HEAD <= end; table = false) {
        uint8_t  head[ITEM_HEAD];
        enum err rc = file_read_full(view_fd(j->i), at, head, sizeof(head), e);
        if (rc != ERR_OK) {
            return rc;
        }
        uint64_t len = (uint64_t)head[4] | (uint64_t)head[5] << 8 | (uint64_t)head[6] << 16 |
                       (uint64_t)head[7] << 24;
        if (head[0] != 0xFE || head[1] != 0xFF || head[2] != 0x00 || head[3] != 0xE0) {
            break; // the sequence delimiter
        }
        at += ITEM_HEAD;
        len = len < end - at ? len : end - at;
        if (!table) {
            pieces_file(j->p, view_fd(j->i), at, len);
        }
        at += len;
    }
    return j->p->len > 0 ? ERR_OK : err_set(e, ERR_NOTFOUND, "pixel data without fragments");
}

/* ---- */

static void put_value(struct job *j, const struct value *v)
{
    if (v->in_file) {
        pieces_file(j->p, view_fd(j->i), v->at, v->len);
    } else {
        (void)pieces_text(j->p, v->mem);
    }
}

/* The frames of pixels in fragments.  False: they cannot be told apart. */
static bool answer_frames(struct job *j, struct view_image *i)
{
    struct errmsg e = {0};
    enum err      rc = frames_answer(j->x, j->v, i, NULL, 0, &e);
    if (rc == ERR_UNSUPPORTED) {
        return false;
    }
    j->v = NULL;
    return true;
}

static void answer(struct job *j, struct view_image *i, const struct place *place)
{
    CLEANUP(arena_done) struct arena mem;
    struct value                     v = {0};
    struct errmsg                    e = {0};
    arena_init(&mem, LIMIT_DSET);
    enum err    rc = read_value(i, place, &mem, &v, &e);
    const char *media = rc == ERR_OK ? document_media(&v) : NULL;
    if (rc == ERR_OK && v.el != NULL && v.el->encapsulated && place->depth == 0) {
        if (answer_frames(j, i)) {
            return;
        }
        media = frame_media(i->syntax_uid);
        rc = put_stream(j, v.el, &e);
    } else if (rc == ERR_OK) {
        put_value(j, &v);
    }
    if (rc == ERR_OK) {
        choose_and_send(j, media);
    } else if (rc == ERR_NOTFOUND) {
        http_error(j->x->r, 404, "not_found", "no such value");
    } else {
        http_error(j->x->r, rc == ERR_IO || rc == ERR_NOMEM ? 500 : 406, err_name(rc), "%s",
                   e.text);
    }
}

static void get_bulk(struct http_request *r, void *arg)
{
    struct wado  x;
    struct place place = {0};
    struct job   j = {.x = &x};
    if (!wado_begin(&x, arg, r, true)) {
        return;
    }
    if (!place_parse(http_param(r, "path"), &place)) {
        http_error(r, 400, "syntax", "not the path of a value");
        return;
    }
    struct view_image *i = wado_image(&x, &j.v);
    if (i == NULL) {
        return;
    }
    j.i = i;
    j.p = pieces_new();
    if (j.p == NULL) {
        http_error(r, 503, "nomem", "no memory for an answer");
    } else {
        answer(&j, i, &place);
    }
    pieces_free(j.p);
    view_unref(j.v);
}

/* The second: what a client makes of a BulkDataURI, relative to the study, and the URL of a series'
 * metadata (pack/model.h). */
const struct web_route bulk_routes[] = {
    {.blocking = true,
     .pattern = "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path*}",
     .handle = get_bulk},
    {.blocking = true,
     .pattern =
         "/studies/{study}/series/{of}/series/{series}/instances/{instance}/bulkdata/{path*}",
     .handle = get_bulk},
};
const size_t bulk_routes_n = sizeof(bulk_routes) / sizeof(bulk_routes[0]);
