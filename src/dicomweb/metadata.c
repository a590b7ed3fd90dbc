/* WADO-RS metadata, PS3.18 10.4.1.1.2: the ready members of the packs, joined. */
#include "dicomweb/xml.h"

static const struct accept_offer offers[] = {
    {.media = "application/dicom+json"},
    {.media = "application/json"},
    {.media = "application/dicom+xml", .multipart = true},
};

enum { OFFERS = sizeof(offers) / sizeof(offers[0]) };

struct joined {
    struct pieces     *p;
    struct model_body *v; // in the request's arena
    size_t             n, room;
    uint64_t           tag;
};

static bool join_room(struct joined *j, struct arena *mem, size_t more)
{
    if (j->n + more <= j->room) {
        return true;
    }
    size_t             room = (j->n + more) * 2;
    struct model_body *v = arena_array(mem, room, struct model_body);
    if (v != NULL && j->n > 0) {
        memcpy(v, j->v, j->n * sizeof(*v));
    }
    j->v = v;
    j->room = room;
    return v != NULL;
}

/* Takes the reference of v. */
static enum err join(struct joined *j, struct wado *x, struct view *v, struct errmsg *e)
{
    struct view_body *b = NULL;
    size_t            n = 0;
    struct arena     *mem = http_arena(x->r);
    enum err          rc = view_metadata(x->w->archive, v, mem, &b, &n, e);
    pieces_keep(j->p, v);
    if (rc == ERR_OK && !join_room(j, mem, n)) {
        rc = err_set(e, ERR_LIMIT, "the metadata of a study is in too many pieces");
    }
    if (rc != ERR_OK) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        if (j->n > 0) {
            pieces_memory(j->p, model_comma, MODEL_COMMA);
        }
        if (b[i].fd >= 0) {
            pieces_file(j->p, b[i].fd, b[i].at, b[i].body.deflated);
        } else {
            pieces_memory(j->p, b[i].ptr, (size_t)b[i].body.deflated);
        }
        j->v[j->n++] = b[i].body;
    }
    return ERR_OK;
}

static uint64_t plain_size(const struct joined *j)
{
    uint64_t plain = 2 + (j->n > 0 ? j->n - 1 : 0);
    for (size_t i = 0; i < j->n; i++) {
        plain += j->v[i].plain;
    }
    return plain;
}

/* The pack's own member is what would be made of its one body: one range of its file, sent by
 * sendfile. */
static void whole_member(struct pieces *p)
{
    struct piece x = {.fd = p->v[1].fd,
                      .at = p->v[1].at - MODEL_HEAD,
                      .len = p->v[1].len + MODEL_HEAD + MODEL_TAIL};
    p->n = 0;
    p->len = 0;
    pieces_file(p, x.fd, x.at, x.len);
}

static void send(struct wado *x, struct joined *j, const char *type)
{
    uint8_t tail[MODEL_TAIL];
    bool    one = !j->p->failed && j->n == 1 && j->p->v[1].ptr == NULL;
    model_tail(j->v, j->n, tail);
    (void)pieces_text(j->p, (struct bytes){tail, MODEL_TAIL});
    if (!is_gzip_welcome(x->r)) {
        pieces_answer_plain(x->r, 200, type, j->p, plain_size(j));
        return;
    }
    if (one && !j->p->failed) {
        whole_member(j->p);
    }
    http_add_header(x->r, "Content-Encoding", STR("gzip"));
    pieces_answer(x->r, 200, type, j->p);
}

/* Takes the references of v. */
static void answer_json(struct wado *x, struct view **v, size_t n, const char *type)
{
    struct joined j = {.p = pieces_new()};
    struct errmsg e = {0};
    enum err      rc = j.p != NULL ? ERR_OK : err_set(&e, ERR_NOMEM, "no memory for an answer");
    size_t        done = 0;
    if (rc == ERR_OK) {
        pieces_memory(j.p, model_head, MODEL_HEAD);
    }
    while (rc == ERR_OK && done < n) {
        rc = join(&j, x, v[done++], &e);
    }
    wado_unref(v + done, n - done);
    if (rc != ERR_OK || j.p == NULL) {
        pieces_free(j.p);
        http_fail(x->r, rc, &e);
        return;
    }
    send(x, &j, type);
}

/* Takes the references of v. */
static void answer(struct wado *x, struct view **v, size_t n)
{
    size_t   form = 0;
    uint64_t tag = 0;
    bool     done = !wado_choose(x->r, offers, OFFERS, &form);
    for (size_t i = 0; i < n; i++) {
        tag = (tag ^ view_tag(v[i])) * 1099511628211U;
    }
    const char *kind = offers[form].multipart ? "x" : is_gzip_welcome(x->r) ? "z" : "";
    done = done || wado_is_cached(x->r, tag, kind, 0);
    if (done) {
        wado_unref(v, n);
        return;
    }
    if (offers[form].multipart) {
        xml_answer(x, v, n, NULL, tag);
    } else {
        answer_json(x, v, n, offers[form].media);
    }
}

static void get_study(struct http_request *r, void *arg)
{
    struct wado   x;
    struct view **v = NULL;
    size_t        n = 0;
    if (wado_begin(&x, arg, r, true) && wado_study(&x, &v, &n)) {
        answer(&x, v, n);
    }
}

static void get_series(struct http_request *r, void *arg)
{
    struct wado  x;
    struct view *v = wado_begin(&x, arg, r, true) ? wado_series(&x) : NULL;
    if (v != NULL) {
        answer(&x, &v, 1);
    }
}

/* ---- one instance: from its header */

static enum err write_one(struct wado *x, const struct view_image *i, struct buf *out,
                          struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     prefix;
    struct view_window               w = view_file(i);
    struct dsrc                      src = view_src(&w);
    const struct syntax             *s = NULL;
    struct dset                     *d = NULL;
    const struct model_of            of = {.study_uid = x->key.study_uid,
                                           .series_uid = x->key.series_uid,
                                           .sop_uid = i->sop_uid,
                                           .class_uid = i->class_uid};
    arena_init(&mem, LIMIT_DSET);
    buf_init(&prefix, 4096);
    buf_fmt(&prefix, "%.*s/studies/%.*s/series/%.*s/instances/%.*s/bulkdata/",
            STR_ARG(web_root(x->r)), STR_ARG(x->key.study_uid), STR_ARG(x->key.series_uid),
            STR_ARG(i->sop_uid));
    enum err rc = model_read(&src, &mem, &s, &d, e);
    buf_str(out, STR("["));
    rc = rc == ERR_OK
             ? model_write(&of, d, &(struct str){(const char *)prefix.ptr, prefix.len}, out, e)
             : rc;
    buf_str(out, STR("]"));
    return rc;
}

static void get_instance(struct http_request *r, void *arg)
{
    struct wado                  x;
    struct view                 *v = NULL;
    CLEANUP(buf_done) struct buf out;
    size_t                       form = 0;
    buf_init(&out, (size_t)LIMIT_DSET * 2);
    struct view_image *i = wado_begin(&x, arg, r, true) ? wado_image(&x, &v) : NULL;
    if (i == NULL) {
        return;
    }
    bool send = wado_choose(r, offers, OFFERS, &form) &&
                !wado_is_cached(r, i->hash, offers[form].multipart ? "ix" : "i", 0);
    if (send && offers[form].multipart) {
        xml_answer(&x, &v, 1, i, i->hash);
        return;
    }
    if (send) {
        struct errmsg e = {0};
        enum err      rc = write_one(&x, i, &out, &e);
        if (rc == ERR_OK) {
            http_answer_buf(r, 200, offers[form].media, &out);
        } else {
            http_fail(r, rc, &e);
        }
    }
    view_unref(v);
}

const struct web_route metadata_routes[] = {
    {.blocking = true, .pattern = "/studies/{study}/metadata", .handle = get_study},
    {.blocking = true,
     .pattern = "/studies/{study}/series/{series}/metadata",
     .handle = get_series},
    {.blocking = true,
     .pattern = "/studies/{study}/series/{series}/instances/{instance}/metadata",
     .handle = get_instance},
};
const size_t metadata_routes_n = sizeof(metadata_routes) / sizeof(metadata_routes[0]);
