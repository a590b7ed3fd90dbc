/* WADO-RS, PS3.18 10.4: whole studies, series and instances as PS3.10 files. */
#include "dicomweb/retrieve.h"

#include <stdio.h>

#include "dicomweb/convert.h"

#define EXPLICIT "1.2.840.10008.1.2.1"

enum { OFFERS = 2 * (CONVERT_TARGETS + 1) };

struct job {
    struct wado      *x;
    struct conversion c;                   // its views are the job's
    bool              single;              // one instance: may be sent without multipart
    const uint8_t    *head[CONVERT_PLANS]; // of a part that is not the first
    size_t            head_len[CONVERT_PLANS];
    size_t            sent, left_out, converted;
    uint64_t          tag;
};

/* ---- which form */

static void offer(struct accept_offer *to, size_t *n, const char *syntax, bool single)
{
    for (int multipart = 1; multipart >= (single ? 0 : 1); multipart--) {
        to[(*n)++] = (struct accept_offer){.media = "application/dicom",
                                           .syntax = syntax,
                                           .multipart = multipart == 1,
                                           .by_default = strcmp(syntax, EXPLICIT) == 0};
    }
}

static size_t offers_of(const struct web *w, struct str stored, bool single,
                        struct accept_offer to[OFFERS])
{
    size_t n = 0;
    offer(to, &n, stored.ptr, single);
    for (size_t i = 0; i < CONVERT_TARGETS; i++) {
        struct str target = str_of(convert_targets[i]);
        if (!str_eq(target, stored) && is_recodable(w, stored, target)) {
            offer(to, &n, convert_targets[i], single);
        }
    }
    return n;
}

/* NULL: answered, the Accept header makes no sense or there are too many syntaxes. */
static struct convert_plan *plan_of(struct job *j, const struct view_image *i)
{
    struct conversion *c = &j->c;
    for (size_t k = 0; k < c->plans; k++) {
        if (str_eq(c->plan[k].stored, i->syntax_uid)) {
            return &c->plan[k];
        }
    }
    struct accept_offer to[OFFERS];
    struct errmsg       e = {0};
    size_t              at = 0, n = offers_of(j->x->w, i->syntax_uid, j->single, to);
    enum err            rc = wado_try(j->x->r, to, n, &at, &e);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        http_error(j->x->r, 400, "syntax", "Accept: %s", e.text);
        return NULL;
    }
    if (c->plans == CONVERT_PLANS) {
        http_error(j->x->r, 500, "limit", "more than %d transfer syntaxes", CONVERT_PLANS);
        return NULL;
    }
    c->plan[c->plans] = (struct convert_plan){.stored = i->syntax_uid,
                                              .possible = rc == ERR_OK,
                                              .multipart = rc == ERR_OK && to[at].multipart,
                                              .target = rc == ERR_OK ? to[at].syntax : NULL};
    return &c->plan[c->plans++];
}

static bool is_as_stored(const struct convert_plan *p)
{
    return p->target == p->stored.ptr;
}

/* What is sent, converted and left out.  False: answered. */
static bool look(struct job *j)
{
    for (size_t k = 0; k < j->c.n_views; k++) {
        const struct view *v = j->c.views[k];
        j->tag = (j->tag ^ view_tag(v)) * 1099511628211U;
        for (size_t i = 0; i < view_count(v); i++) {
            const struct convert_plan *p = plan_of(j, view_at(v, i));
            if (p == NULL) {
                return false;
            }
            j->sent += p->possible;
            j->left_out += !p->possible;
            j->converted += p->possible && !is_as_stored(p);
        }
    }
    return true;
}

/* ---- as they lie */

static void part_head(struct job *j, struct pieces *p, const struct convert_plan *plan, bool first)
{
    CLEANUP(buf_done) struct buf b;
    size_t                       at = (size_t)(plan - j->c.plan);
    char                         type[128];
    buf_init(&b, 1024);
    part_type(plan->target, type);
    const struct http_pair pair = {STR("Content-Type"), str_of(type)};
    if (!first && j->head[at] != NULL) { // the same text for all of them
        pieces_memory(p, j->head[at], j->head_len[at]);
        return;
    }
    multipart_head(&b, j->c.boundary, first, &pair, 1);
    const uint8_t *text = pieces_text(p, (struct bytes){b.ptr, b.len});
    if (!first) {
        j->head[at] = text;
        j->head_len[at] = b.len;
    }
}

static void put_files(struct job *j, struct pieces *p)
{
    bool first = true;
    for (size_t k = 0; k < j->c.n_views; k++) {
        for (size_t i = 0; i < view_count(j->c.views[k]); i++) {
            const struct view_image   *m = view_at(j->c.views[k], i);
            const struct convert_plan *plan = plan_of(j, m); // known by now
            if (plan == NULL || !plan->possible) {
                continue;
            }
            part_head(j, p, plan, first);
            pieces_file(p, view_fd(m), m->at, m->size);
            first = false;
        }
    }
}

static void answer_files(struct job *j, unsigned status, const char *type)
{
    CLEANUP(buf_done) struct buf tail;
    struct pieces               *p = pieces_new();
    if (p == NULL) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    buf_init(&tail, 512);
    put_files(j, p);
    multipart_tail(&tail, j->c.boundary);
    pieces_buf(p, &tail);
    for (size_t k = 0; k < j->c.n_views; k++) {
        pieces_keep(p, j->c.views[k]);
    }
    j->c.n_views = 0;
    pieces_answer(j->x->r, status, type, p);
}

/* ---- studies and series */

static void refuse(struct job *j)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < j->c.plans; i++) {
        buf_fmt(&b, "%s%.*s", i > 0 ? ", " : "", STR_ARG(j->c.plan[i].stored));
    }
    http_error(j->x->r, 406, "not_acceptable",
               "available: multipart/related; type=\"application/dicom\"; transfer-syntax=* "
               "(stored: %.*s)",
               (int)b.len, (const char *)b.ptr);
}

static void answer_list(struct job *j)
{
    CLEANUP(buf_done) struct buf type;
    unsigned                     status = j->left_out > 0 ? 206 : 200; // PS3.18 table 10.4.3-1
    buf_init(&type, 512);
    multipart_boundary((struct bytes){(const uint8_t *)&j->tag, sizeof(j->tag)}, j->c.boundary);
    multipart_type(&type, j->c.boundary, "application/dicom");
    buf_u8(&type, 0);
    if (type.err != ERR_OK) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
    } else if (j->converted == 0) {
        answer_files(j, status, (const char *)type.ptr);
    } else {
        convert_answer(j->x->r, status, (const char *)type.ptr, &j->c);
        j->c.n_views = 0;
    }
}

static void answer(struct job *j)
{
    if (!look(j)) {
        return;
    }
    if (j->sent == 0) {
        refuse(j);
        return;
    }
    if (j->left_out > 0) {
        wado_warn(j->x->r, "%zu of %zu instances cannot be given in an acceptable transfer syntax",
                  j->left_out, j->left_out + j->sent);
    }
    answer_list(j);
}

static void get_study(struct http_request *r, void *arg)
{
    struct wado x;
    struct job  j = {.x = &x, .c.w = arg};
    if (wado_begin(&x, arg, r, true) && wado_study(&x, &j.c.views, &j.c.n_views)) {
        answer(&j);
        wado_unref(j.c.views, j.c.n_views);
    }
}

static void get_series(struct http_request *r, void *arg)
{
    struct wado  x;
    struct view *v = wado_begin(&x, arg, r, true) ? wado_series(&x) : NULL;
    struct job   j = {.x = &x, .c = {.w = arg, .views = &v, .n_views = 1}};
    if (v != NULL) {
        answer(&j);
        wado_unref(&v, j.c.n_views);
    }
}

/* ---- instances */

static enum err to_buf(void *ctx, struct bytes b, struct errmsg *e)
{
    struct buf *out = ctx;
    buf_add(out, b);
    return out->err == ERR_OK ? ERR_OK : err_set(e, ERR_LIMIT, "too large to be made at once");
}

static void wrap(struct buf *out, const char *boundary, const char *type, bool end)
{
    const struct http_pair pair = {STR("Content-Type"), str_of(type)};
    if (boundary[0] != '\0' && !end) {
        multipart_head(out, boundary, true, &pair, 1);
    } else if (boundary[0] != '\0') {
        multipart_tail(out, boundary);
    }
}

/* At once, with a length and a true status, unless it is large: then while it is sent. */
static void answer_converted(struct job *j, const struct view_image *i,
                             const struct convert_plan *p, const char *type, const char *part)
{
    CLEANUP(buf_done) struct buf out;
    struct errmsg                e = {0};
    enum err                     rc = ERR_LIMIT;
    buf_init(&out, LIMIT_CONVERT);
    if (i->size <= LIMIT_CONVERT_STORED) {
        wrap(&out, j->c.boundary, part, false);
        rc = convert_object(j->x->w, i, p->target, to_buf, &out, &e);
        wrap(&out, j->c.boundary, part, true);
    }
    if (rc == ERR_OK) {
        http_answer_buf(j->x->r, 200, type, &out);
    } else if (rc == ERR_LIMIT && (out.len == 0 || out.err != ERR_OK)) {
        j->c.one = i;
        convert_answer(j->x->r, 200, type, &j->c);
        j->c.n_views = 0;
    } else if (rc == ERR_UNSUPPORTED || rc == ERR_SYNTAX) {
        http_error(j->x->r, 406, "not_acceptable",
                   "%s; available: application/dicom; transfer-syntax=%.*s", e.text,
                   STR_ARG(i->syntax_uid));
    } else {
        http_fail(j->x->r, rc, &e);
    }
}

static void answer_stored(struct job *j, const struct view_image *i, const char *type,
                          const char *part)
{
    CLEANUP(buf_done) struct buf b;
    struct pieces               *p = pieces_new();
    if (p == NULL) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
        return;
    }
    buf_init(&b, 1024);
    wrap(&b, j->c.boundary, part, false);
    pieces_buf(p, &b);
    pieces_file(p, view_fd(i), i->at, i->size);
    wrap(&b, j->c.boundary, part, true);
    pieces_buf(p, &b);
    pieces_keep(p, j->c.views[0]);
    j->c.n_views = 0;
    pieces_answer(j->x->r, 200, type, p);
}

static void answer_instance(struct job *j, const struct view_image *i, const struct convert_plan *p)
{
    CLEANUP(buf_done) struct buf type;
    char                         part[128], form[80];
    (void)snprintf(form, sizeof(form), "%s%s", p->multipart ? "m" : "s", p->target);
    if (wado_is_cached(j->x->r, i->hash, form, 0)) {
        return;
    }
    buf_init(&type, 512);
    part_type(p->target, part);
    if (p->multipart) {
        multipart_boundary((struct bytes){(const uint8_t *)&i->hash, sizeof(i->hash)},
                           j->c.boundary);
        multipart_type(&type, j->c.boundary, "application/dicom");
    } else {
        buf_str(&type, str_of(part));
    }
    buf_u8(&type, 0);
    if (type.err != ERR_OK) {
        http_error(j->x->r, 503, "nomem", "no memory for an answer");
    } else if (is_as_stored(p)) {
        answer_stored(j, i, (const char *)type.ptr, part);
    } else {
        answer_converted(j, i, p, (const char *)type.ptr, part);
    }
}

static void instance(struct http_request *r, struct web *w, bool may_wait)
{
    struct wado        x;
    struct view       *v = NULL;
    struct view_image *i = wado_begin(&x, w, r, may_wait) ? wado_image(&x, &v) : NULL;
    struct job         j = {.x = &x, .single = true, .c = {.w = w, .views = &v, .n_views = 1}};
    if (i == NULL) {
        return;
    }
    const struct convert_plan *p = plan_of(&j, i);
    if (p != NULL && !p->possible) {
        struct accept_offer to[OFFERS];
        size_t              at, n = offers_of(w, i->syntax_uid, true, to);
        (void)wado_choose(r, to, n, &at); // says what there is
    } else if (p != NULL && (may_wait || is_as_stored(p))) {
        answer_instance(&j, i, p);
    }
    wado_unref(&v, j.c.n_views);
}

void retrieve_file(struct wado *x, struct view *v, const struct view_image *i, struct str syntax)
{
    struct job           j = {.x = x, .single = true, .c = {.w = x->w, .views = &v, .n_views = 1}};
    struct convert_plan *p = &j.c.plan[j.c.plans++];
    syntax = syntax.len == 0 ? STR(EXPLICIT) : syntax;
    bool stored = str_eq(syntax, STR("*")) || str_eq(syntax, i->syntax_uid);
    *p = (struct convert_plan){.stored = i->syntax_uid, .possible = stored};
    p->target = stored ? i->syntax_uid.ptr : NULL;
    for (size_t k = 0; !p->possible && k < CONVERT_TARGETS; k++) {
        if (str_eq(syntax, str_of(convert_targets[k]))) {
            p->possible = is_recodable(x->w, i->syntax_uid, syntax);
            p->target = convert_targets[k];
        }
    }
    if (p->possible) {
        answer_instance(&j, i, p);
    } else {
        http_error(x->r, 406, "not_acceptable", "stored as transferSyntax=%.*s, not convertible",
                   STR_ARG(i->syntax_uid));
    }
    wado_unref(&v, j.c.n_views);
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
