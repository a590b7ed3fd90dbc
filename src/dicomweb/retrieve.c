/* WADO-RS, PS3.18 10.4: whole studies, series and instances as PS3.10 files. */
#include "dicomweb/retrieve.h"

#include <stdio.h>

#include "http/multipart.h"

#define EXPLICIT "1.2.840.10008.1.2.1"

/* What becomes of objects in one syntax. */
struct verdict {
    struct str     stored;
    bool           possible, multipart;
    const char    *target; // == stored.ptr: as they lie
    const uint8_t *head;   // of a part that is not the first
    size_t         head_len;
};

enum { VERDICTS = 32, OFFERS = 2 * (RETRIEVE_TARGETS + 1) };

struct job {
    struct wado   *x;
    struct view  **views; // the job's
    size_t         n_views;
    bool           single; // one instance: may be sent without multipart
    struct verdict verdict[VERDICTS];
    size_t         verdicts;
    size_t         sent, left_out, converted;
    uint64_t       tag;
};

/* In the order in which they are preferred after the stored one. */
const char *const retrieve_targets[RETRIEVE_TARGETS] = {
    EXPLICIT,
    "1.2.840.10008.1.2",       // implicit
    "1.2.840.10008.1.2.4.202", // HTJ2K RPCL lossless
    "1.2.840.10008.1.2.4.201", // HTJ2K lossless
    "1.2.840.10008.1.2.4.80",  // JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  // JPEG 2000 lossless
    "1.2.840.10008.1.2.4.70",  // JPEG lossless
    "1.2.840.10008.1.2.5",     // RLE
};

static void offer(struct accept_offer *to, size_t *n, const char *syntax, bool single)
{
    for (int multipart = 1; multipart >= (single ? 0 : 1); multipart--) {
        to[(*n)++] = (struct accept_offer){.media = "application/dicom",
                                           .syntax = syntax,
                                           .multipart = multipart == 1,
                                           .by_default = strcmp(syntax, EXPLICIT) == 0};
    }
}

static size_t offers_of(struct str stored, bool single, struct accept_offer to[OFFERS])
{
    size_t n = 0;
    offer(to, &n, stored.ptr, single);
    for (size_t i = 0; i < RETRIEVE_TARGETS; i++) {
        if (strcmp(retrieve_targets[i], stored.ptr) != 0 &&
            is_retrievable(stored, str_of(retrieve_targets[i]))) {
            offer(to, &n, retrieve_targets[i], single);
        }
    }
    return n;
}

/* NULL: answered, the Accept header makes no sense or there are too many syntaxes. */
static struct verdict *verdict_of(struct job *j, const struct view_image *i)
{
    for (size_t k = 0; k < j->verdicts; k++) {
        if (str_eq(j->verdict[k].stored, i->syntax_uid)) {
            return &j->verdict[k];
        }
    }
    struct accept_offer to[OFFERS];
    struct errmsg       e = {0};
    size_t              at = 0, n = offers_of(i->syntax_uid, j->single, to);
    enum err            rc = wado_try(j->x->r, to, n, &at, &e);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        http_error(j->x->r, 400, "syntax", "Accept: %s", e.text);
        return NULL;
    }
    if (j->verdicts == VERDICTS) {
        http_error(j->x->r, 500, "limit", "more than %d transfer syntaxes", VERDICTS);
        return NULL;
    }
    j->verdict[j->verdicts] = (struct verdict){.stored = i->syntax_uid,
                                               .possible = rc == ERR_OK,
                                               .multipart = rc == ERR_OK && to[at].multipart,
                                               .target = rc == ERR_OK ? to[at].syntax : NULL};
    return &j->verdict[j->verdicts++];
}

static bool is_as_stored(const struct verdict *v)
{
    return v->target == v->stored.ptr;
}

/* What is sent, converted and left out.  False: answered. */
static bool look(struct job *j)
{
    for (size_t k = 0; k < j->n_views; k++) {
        j->tag = (j->tag ^ view_tag(j->views[k])) * 1099511628211U;
        for (size_t i = 0; i < view_count(j->views[k]); i++) {
            const struct verdict *v = verdict_of(j, view_at(j->views[k], i));
            if (v == NULL) {
                return false;
            }
            j->sent += v->possible;
            j->left_out += !v->possible;
            j->converted += v->possible && !is_as_stored(v);
        }
    }
    return true;
}

/* ---- as they lie */

static void part_type(const char *syntax, char ret[128])
{
    (void)snprintf(ret, 128, "application/dicom; transfer-syntax=%s", syntax);
}

static void part_head(struct pieces *p, struct verdict *v, const char *boundary, bool first)
{
    CLEANUP(buf_done) struct buf b;
    char                         type[128];
    buf_init(&b, 1024);
    part_type(v->target, type);
    const struct http_pair pair = {STR("Content-Type"), str_of(type)};
    if (first || v->head == NULL) {
        multipart_head(&b, boundary, first, &pair, 1);
        const uint8_t *text = pieces_text(p, (struct bytes){b.ptr, b.len});
        if (!first) {
            v->head = text;
            v->head_len = b.len;
        }
        return;
    }
    pieces_memory(p, v->head, v->head_len);
}

static void put_files(struct job *j, struct pieces *p, const char *boundary)
{
    bool first = true;
    for (size_t k = 0; k < j->n_views; k++) {
        for (size_t i = 0; i < view_count(j->views[k]); i++) {
            const struct view_image *m = view_at(j->views[k], i);
            struct verdict          *v = verdict_of(j, m); // known by now
            if (v == NULL || !v->possible) {
                continue;
            }
            part_head(p, v, boundary, first);
            pieces_file(p, view_fd(m), m->at, m->size);
            first = false;
        }
    }
}

static void answer_files(struct job *j)
{
    CLEANUP(buf_done) struct buf type;
    CLEANUP(buf_done) struct buf tail;
    char                         boundary[MULTIPART_BOUNDARY];
    struct pieces               *p = pieces_new();
    if (p == NULL) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    buf_init(&type, 512);
    buf_init(&tail, 512);
    multipart_boundary((struct bytes){(const uint8_t *)&j->tag, sizeof(j->tag)}, boundary);
    multipart_type(&type, boundary, "application/dicom");
    buf_u8(&type, 0);
    put_files(j, p, boundary);
    multipart_tail(&tail, boundary);
    pieces_buf(p, &tail);
    for (size_t k = 0; k < j->n_views; k++) {
        pieces_keep(p, j->views[k]);
    }
    j->n_views = 0;
    pieces_answer(j->x->r, j->left_out > 0 ? 206 : 200, (const char *)type.ptr, p);
}

/* ---- studies and series */

static void refuse(struct job *j)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < j->verdicts; i++) {
        buf_fmt(&b, "%s%.*s", i > 0 ? ", " : "", STR_ARG(j->verdict[i].stored));
    }
    http_error(j->x->r, 406, "not_acceptable",
               "available: multipart/related; type=\"application/dicom\"; transfer-syntax=* "
               "(stored: %.*s)",
               (int)b.len, (const char *)b.ptr);
}

static void answer(struct job *j)
{
    struct http_request *r = j->x->r;
    if (!look(j)) {
        return;
    }
    if (j->sent == 0) {
        refuse(j);
        return;
    }
    if (j->left_out > 0) {
        wado_warn(r, "%zu of %zu instances cannot be given in an acceptable transfer syntax",
                  j->left_out, j->left_out + j->sent);
    }
    answer_files(j);
}

static void get_study(struct http_request *r, void *arg)
{
    struct wado x;
    struct job  j = {.x = &x};
    if (wado_begin(&x, arg, r, true) && wado_study(&x, &j.views, &j.n_views)) {
        answer(&j);
        wado_unref(j.views, j.n_views);
    }
}

static void get_series(struct http_request *r, void *arg)
{
    struct wado  x;
    struct view *v = wado_begin(&x, arg, r, true) ? wado_series(&x) : NULL;
    struct job   j = {.x = &x, .views = &v, .n_views = 1};
    if (v != NULL) {
        answer(&j);
        wado_unref(j.views, j.n_views);
    }
}

/* ---- instances */

static void answer_instance(struct job *j, const struct view_image *i, const struct verdict *v)
{
    struct pieces *p = NULL;
    char           type[128], boundary[MULTIPART_BOUNDARY];
    if (wado_is_cached(j->x->r, i->hash, v->multipart ? "m" : "s", 0)) {
        return;
    }
    if ((p = pieces_new()) == NULL) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    part_type(v->target, type);
    if (!v->multipart) {
        pieces_file(p, view_fd(i), i->at, i->size);
        pieces_keep(p, j->views[0]);
        j->n_views = 0;
        pieces_answer(j->x->r, 200, type, p);
        return;
    }
    CLEANUP(buf_done) struct buf b;
    const struct http_pair       pair = {STR("Content-Type"), str_of(type)};
    buf_init(&b, 1024);
    multipart_boundary((struct bytes){(const uint8_t *)&i->hash, sizeof(i->hash)}, boundary);
    multipart_head(&b, boundary, true, &pair, 1);
    pieces_buf(p, &b);
    pieces_file(p, view_fd(i), i->at, i->size);
    multipart_tail(&b, boundary);
    pieces_buf(p, &b);
    pieces_keep(p, j->views[0]);
    j->n_views = 0;
    multipart_type(&b, boundary, "application/dicom");
    buf_u8(&b, 0);
    pieces_answer(j->x->r, 200, (const char *)b.ptr, p);
}

static void instance(struct http_request *r, struct web *w, bool may_wait)
{
    struct wado        x;
    struct view       *v = NULL;
    struct view_image *i = wado_begin(&x, w, r, may_wait) ? wado_image(&x, &v) : NULL;
    struct job         j = {.x = &x, .views = &v, .n_views = 1, .single = true};
    if (i == NULL) {
        return;
    }
    const struct verdict *verdict = verdict_of(&j, i);
    if (verdict != NULL && !verdict->possible) {
        struct accept_offer to[OFFERS];
        size_t              at, n = offers_of(i->syntax_uid, true, to);
        (void)wado_choose(r, to, n, &at); // says what there is
    } else if (verdict != NULL) {
        answer_instance(&j, i, verdict);
    }
    wado_unref(j.views, j.n_views);
}

static void get_instance(struct http_request *r, void *arg)
{
    instance(r, arg, true);
}

static void begin_instance(struct http_request *r, void *arg)
{
    instance(r, arg, false);
}

const struct web_route retrieve_routes[] = {
    {.blocking = true, .pattern = "/studies/{study}", .handle = get_study},
    {.blocking = true, .pattern = "/studies/{study}/series/{series}", .handle = get_series},
    {.blocking = true,
     .pattern = "/studies/{study}/series/{series}/instances/{instance}",
     .handle = get_instance,
     .begin = begin_instance},
};
const size_t retrieve_routes_n = sizeof(retrieve_routes) / sizeof(retrieve_routes[0]);
