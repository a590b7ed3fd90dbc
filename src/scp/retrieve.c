/*
 * C-MOVE and C-GET, PS3.4 C.4.2 and C.4.3.  Both make a list of the objects, then send each by a
 * C-STORE sub-operation: C-GET on the association that asked, C-MOVE on associations of our own to
 * the destination, as many as its presentation contexts need, opened anew when it hangs up.
 */
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "dicom/convert.h"
#include "dicom/match.h"
#include "dicom/tags.h"
#include "dimse/scu.h"
#include "pixel/transcode.h"
#include "scp/scp_priv.h"

enum {
    CLASSES_PER_ASSOC = 40,
    PAIRS_MAX = 1024
}; // a context for each stored syntax and two for conversions: under 128

/* What an object is turned into when it is not taken as it is stored: the best first. */
static const struct str turned_into[] = {
    {"1.2.840.10008.1.2.1", 19},    {"1.2.840.10008.1.2", 17},
    {"1.2.840.10008.1.2.2", 19},    {"1.2.840.10008.1.2.1.99", 22},
    {"1.2.840.10008.1.2.4.80", 22}, {"1.2.840.10008.1.2.4.202", 23},
    {"1.2.840.10008.1.2.4.90", 22}, {"1.2.840.10008.1.2.4.70", 22},
    {"1.2.840.10008.1.2.5", 19},    {"1.2.840.10008.1.2.4.201", 23},
    {"1.2.840.10008.1.2.4.57", 22},
};

enum { N_INTO = sizeof(turned_into) / sizeof(turned_into[0]), N_PLAIN = 4 };

struct pair { // what has to be negotiated
    char class_uid[65], syntax_uid[65];
};

struct retrieve {
    struct served        *s;
    const struct request *r;
    bool                  move;
    const struct dset    *keys;
    struct peer           dest; // C-MOVE
    struct assoc         *out;  // C-MOVE: current association to dest; C-GET: the asking one
    struct pair *pairs; // owned; those that out was opened for are pairs[first .. first + n)
    size_t       n_pairs, first, n;
    int64_t     *series; // owned
    size_t       n_series, room;
    uint16_t     total, completed, failed,
        warning;                 // PS3.7 9.3.3: US, so larger sums stay at their maximum
    struct buf      failed_uids; // backslash separated
    struct deadline next_pending;
    unsigned        retries;
    bool            refused; // the destination accepted no context of the pairs at hand
    bool            cancelled;
    struct str     *wanted; // in the arena of the operation; NULL: all images
    size_t          n_wanted;
    struct arena    mem; // list of the series at hand
};

/* ---- what is asked for */

static int by_text(const void *a, const void *b)
{
    struct str x = *(const struct str *)a, y = *(const struct str *)b;
    int        c = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return c != 0 ? c : (x.len > y.len) - (x.len < y.len);
}

/* The SOP Instance UIDs asked for, sorted: lists of thousands meet series of thousands. */
static enum err list_wanted(struct retrieve *v, struct arena *a, struct errmsg *e)
{
    const struct elem *el = dset_find(v->keys, DT_SOPInstanceUID);
    struct str         rest = dset_str(v->keys, DT_SOPInstanceUID);
    size_t             n = 1;
    if (el == NULL || el->value.len == 0) {
        return ERR_OK;
    }
    for (size_t i = 0; i < rest.len; i++) {
        n += rest.ptr[i] == '\\';
    }
    v->wanted = arena_array(a, n, struct str);
    if (v->wanted == NULL) {
        return err_set(e, ERR_LIMIT, "list of %zu SOP Instance UIDs", n);
    }
    while (v->n_wanted < n) {
        const char *end = rest.len > 0 ? memchr(rest.ptr, '\\', rest.len) : NULL;
        size_t      len = end != NULL ? (size_t)(end - rest.ptr) : rest.len;
        size_t      uid = len;
        while (uid > 0 && (rest.ptr[uid - 1] == ' ' || rest.ptr[uid - 1] == '\0')) {
            uid--; // each value may be padded
        }
        v->wanted[v->n_wanted++] = (struct str){rest.len > 0 ? rest.ptr : "", uid};
        rest = end != NULL ? (struct str){end + 1, rest.len - len - 1} : (struct str){0};
    }
    qsort(v->wanted, n, sizeof(*v->wanted), by_text);
    return ERR_OK;
}

static bool is_wanted(const struct retrieve *v, const struct object *o)
{
    struct str uid = str_of(o->image.sop_uid);
    return v->wanted == NULL ||
           bsearch(&uid, v->wanted, v->n_wanted, sizeof(*v->wanted), by_text) != NULL;
}

static enum err add_pair(struct retrieve *v, const struct pack_image *m, struct errmsg *e)
{
    for (size_t i = 0; i < v->n_pairs; i++) {
        if (strcmp(v->pairs[i].class_uid, m->class_uid) == 0 &&
            strcmp(v->pairs[i].syntax_uid, m->syntax_uid) == 0) {
            return ERR_OK;
        }
    }
    if (v->n_pairs == PAIRS_MAX) {
        return err_set(e, ERR_LIMIT, "over %d kinds of objects in one retrieval", PAIRS_MAX);
    }
    struct pair *p = &v->pairs[v->n_pairs++];
    memcpy(p->class_uid, m->class_uid, sizeof(p->class_uid));
    memcpy(p->syntax_uid, m->syntax_uid, sizeof(p->syntax_uid));
    return ERR_OK;
}

static void count_up(uint16_t *n)
{
    *n = (uint16_t)(*n < UINT16_MAX ? *n + 1 : UINT16_MAX);
}

typedef enum err each_object(struct retrieve *v, const struct object *o, struct errmsg *e);

static enum err for_series(struct retrieve *v, int64_t series_id, each_object *fn, struct errmsg *e)
{
    struct object *o;
    size_t         n;
    arena_done(&v->mem);
    arena_init(&v->mem, LIMIT_OBJECT_LIST);
    enum err rc = archive_list(v->s->scp->archive, series_id, &v->mem, &o, &n, e);
    for (size_t i = 0; rc == ERR_OK && i < n && !v->cancelled; i++) {
        rc = is_wanted(v, &o[i]) ? fn(v, &o[i], e) : ERR_OK;
    }
    return rc;
}

static enum err for_all(struct retrieve *v, each_object *fn, struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < v->n_series && !v->cancelled; i++) {
        rc = for_series(v, v->series[i], fn, e);
    }
    return rc;
}

static enum err survey(struct retrieve *v, const struct object *o, struct errmsg *e)
{
    count_up(&v->total);
    return add_pair(v, &o->image, e);
}

static enum err add_series(struct retrieve *v, int64_t id, struct errmsg *e)
{
    if (v->n_series == v->room) {
        size_t   room = v->room == 0 ? 64 : v->room * 2;
        int64_t *p = reallocarray(v->series, room, sizeof(*p));
        if (p == NULL) {
            return err_set(e, ERR_NOMEM, "list of series");
        }
        v->series = p;
        v->room = room;
    }
    v->series[v->n_series++] = id;
    return ERR_OK;
}

/* Only the unique keys count (PS3.4 C.4.2.1.4.1), and that of the level must be there. */
static enum err unique_only(const struct dset *keys, enum level level, struct arena *a,
                            struct dset **ret, struct errmsg *e)
{
    struct dset *d = dset_new(a);
    if (d == NULL) {
        return err_set(e, ERR_NOMEM, "identifier");
    }
    if (!has_value(keys, qr_unique_key[level])) {
        return err_set(e, ERR_SYNTAX, "the unique key of the Query/Retrieve Level is missing");
    }
    for (size_t i = 0; i <= LEVEL_IMAGE; i++) {
        const struct elem *el = dset_find(keys, qr_unique_key[i]);
        if (el != NULL && el->value.len > 0 && i <= level && dset_copy(d, keys, el) != ERR_OK) {
            return err_set(e, ERR_NOMEM, "identifier");
        }
    }
    if (has_wildcard(dset_str(d, DT_PatientID))) {
        return err_set(e, ERR_SYNTAX, "Patient ID with a wildcard in a retrieval");
    }
    *ret = d;
    return ERR_OK;
}

static enum err list_series(struct retrieve *v, enum level level, struct errmsg *e)
{
    struct db_pool                  *pool = archive_db(v->s->scp->archive);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct dset *keys = NULL;
    struct find *f = NULL;
    enum err     rc = unique_only(v->keys, level, &a, &keys, e);
    struct db   *db = rc == ERR_OK ? db_pool_take(pool, e) : NULL;
    if (db == NULL) {
        return e->code;
    }
    dset_remove(keys, DT_SOPInstanceUID); // the index has no images: is_wanted looks at their key
    struct match_opts opts = {0};
    rc = index_find(db, v->s->tenant.id, LEVEL_SERIES, keys, &f, e);
    while (rc == ERR_OK) {
        CLEANUP(arena_done) struct arena row_mem;
        arena_init(&row_mem, LIMIT_FIND_ROW);
        struct find_row row;
        rc = find_next(f, &row_mem, &row, e);
        if (rc == ERR_OK && is_match(keys, row.dset, &opts)) {
            rc = add_series(v, row.ids.series_id, e);
        }
    }
    find_free(f);
    db_pool_give(pool, db);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* ---- the association that carries the sub-operations */

static bool may_become(const struct retrieve *v, struct str from, struct str to)
{
    const struct syntax *a = syntax_find(from), *b = syntax_find(to);
    if (a == NULL || b == NULL) {
        return false;
    }
    return is_convertible(a, b) || (v->s->scp->pixel != NULL && is_transcodable(from, to, false));
}

/* Contexts for conversions: one uncompressed, one compressed without loss. */
static enum err plan_add_turned(const struct retrieve *v, struct scu_plan *plan,
                                const struct pair *p, struct errmsg *e)
{
    struct str own = str_of(p->syntax_uid);
    struct str into[N_INTO];
    size_t     n = 0;
    enum err   rc = ERR_OK;
    if (may_become(v, own, turned_into[0])) {
        rc = plan_add_turns(plan, str_of(p->class_uid), turned_into, 2, e);
    }
    for (size_t i = N_PLAIN; i < N_INTO; i++) {
        if (!str_eq(own, turned_into[i]) && may_become(v, own, turned_into[i])) {
            into[n++] = turned_into[i];
        }
    }
    return rc == ERR_OK && n > 0 ? plan_add_turns(plan, str_of(p->class_uid), into, n, e) : rc;
}

static enum err open_out(struct retrieve *v, size_t first, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_PDU_ASSOC);
    struct scu_plan plan;
    struct scu_peer to = {
        .host = v->dest.host,
        .port = v->dest.port,
        .called = v->dest.aet,
        .calling = v->s->tenant.aet,
        .tls = v->dest.tls ? v->s->scp->client_tls : NULL,
        .cert = v->dest.cert,
        .conf = v->s->scp->assoc,
    };
    if (v->dest.tls && to.tls == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "destination wants TLS and none is configured");
    }
    plan_init(&plan, &mem);
    v->first = first;
    v->n = v->n_pairs - first < CLASSES_PER_ASSOC ? v->n_pairs - first : CLASSES_PER_ASSOC;
    for (size_t i = first; i < first + v->n; i++) {
        enum err rc = plan_add_object(&plan, str_of(v->pairs[i].class_uid),
                                      str_of(v->pairs[i].syntax_uid), e);
        rc = rc == ERR_OK ? plan_add_turned(v, &plan, &v->pairs[i], e) : rc;
        if (rc != ERR_OK) {
            return rc;
        }
    }
    enum err rc = scu_connect(&to, &plan, &v->out, e);
    if (rc != ERR_OK) {
        v->out = NULL;
        v->refused =
            rc == ERR_UNSUPPORTED; // not one context: asking again for each image would not help
    }
    return rc;
}

static void close_out(struct retrieve *v)
{
    struct errmsg ignored = {0};
    if (v->move && v->out != NULL) {
        (void)assoc_release(v->out, &ignored);
        assoc_free(v->out);
        v->out = NULL;
    }
}

/* C-MOVE: have the right association open for this kind of object. */
static enum err ready_out(struct retrieve *v, const struct pack_image *m, struct errmsg *e)
{
    size_t i = 0;
    while (i < v->n_pairs && (strcmp(v->pairs[i].class_uid, m->class_uid) != 0 ||
                              strcmp(v->pairs[i].syntax_uid, m->syntax_uid) != 0)) {
        i++;
    }
    if (i == v->n_pairs) { // arrived since the survey
        enum err rc = add_pair(v, m, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    bool planned = i >= v->first && i - v->first < v->n;
    if (planned && v->refused) {
        return err_set(e, ERR_UNSUPPORTED, "the destination accepts none of these objects");
    }
    if (planned && v->out != NULL) {
        return ERR_OK;
    }
    close_out(v);
    v->refused = false;
    return open_out(v, i - i % CLASSES_PER_ASSOC, e);
}

/* ---- one sub-operation */

/* C-GET: only where the requestor took the SCP role. */
static bool may_send_on(const struct retrieve *v, const struct assoc_ctx *c)
{
    return c != NULL && (v->move || (c->has_role && c->scp_role));
}

/* The stored syntax when it was accepted, else the best that it can be turned into. */
static const struct assoc_ctx *pick_ctx(const struct retrieve *v, const struct pack_image *m)
{
    struct str              class_uid = str_of(m->class_uid), own = str_of(m->syntax_uid);
    const struct assoc_ctx *c = assoc_ctx_for(v->out, class_uid, own);
    for (size_t i = 0; !may_send_on(v, c) && i < N_INTO; i++) {
        c = may_become(v, own, turned_into[i]) ? assoc_ctx_for(v->out, class_uid, turned_into[i])
                                               : NULL;
    }
    return may_send_on(v, c) ? c : NULL;
}

/* A sub-operation whose data set is made as it is sent: the command goes with its first piece, so
 * that what cannot be made costs this object alone. */
struct turning {
    struct retrieve        *v;
    const struct assoc_ctx *c;
    const struct cmd       *store;
    bool                    begun;
};

static enum err sink(void *arg, struct bytes piece, struct errmsg *e)
{
    struct turning *t = arg;
    enum err        rc = t->begun ? ERR_OK : msg_send_begin(t->v->out, t->c->id, t->store, e);
    t->begun = true;
    return rc == ERR_OK ? msg_send_add(t->v->out, piece, e) : rc;
}

static enum err send_turned(struct turning *t, const struct object *o, const struct object_file *f,
                            struct errmsg *e)
{
    struct str own = str_of(o->image.syntax_uid), to = t->c->syntaxes[0];
    enum err   rc = transcode_object(t->v->s->scp->pixel, &f->src, own, to, false, sink, t, e);
    if (rc == ERR_OK || t->begun) {
        return rc;
    }
    return e->code = ERR_UNSUPPORTED; // nothing was sent: the association is as it was
}

/* ERR_CONFLICT: it was recompressed since it was listed; *o says in what now. */
static enum err send_object(struct retrieve *v, struct object *o, const struct assoc_ctx *c,
                            uint16_t id, struct errmsg *e)
{
    struct object_file f;
    enum err           rc = object_open(v->s->scp->archive, o, &f, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (strcmp(f.image.syntax_uid, o->image.syntax_uid) != 0) {
        o->image = f.image;
        object_close(&f);
        return ERR_CONFLICT;
    }
    struct cmd store = {
        .field = C_STORE_RQ,
        .message_id = id,
        .class_uid = str_of(o->image.class_uid),
        .sop_uid = str_of(o->image.sop_uid),
        .has_data = true,
        .originator_aet = v->move ? v->s->peer.aet : STR(""),
        .originator_id = v->move ? v->r->cmd.message_id : 0,
    };
    struct turning t = {.v = v, .c = c, .store = &store};
    if (str_eq(c->syntaxes[0], str_of(o->image.syntax_uid))) {
        rc = msg_send_begin(v->out, c->id, &store, e);
        rc = rc == ERR_OK ? msg_send_file(v->out, f.fd, f.data_at, f.data_len, e) : rc;
    } else {
        rc = send_turned(&t, o, &f, e);
    }
    if (rc == ERR_OK) {
        rc = msg_send_end(v->out, e);
    }
    object_close(&f);
    return rc;
}

/* Wait for the C-STORE-RSP; on a C-GET association a C-CANCEL may come first. */
static enum err store_answer(struct retrieve *v, uint16_t id, uint16_t *ret_status,
                             struct errmsg *e)
{
    for (;;) {
        struct cmd c;
        uint8_t    context;
        enum err   rc = msg_recv(v->out, &c, &context, e);
        if (rc != ERR_OK) {
            return rc;
        }
        if (!v->move && c.field == C_CANCEL_RQ) {
            v->cancelled = true;
        } else if (c.field == C_STORE_RSP && c.responded_id == id) {
            *ret_status = c.status;
            return ERR_OK;
        } else {
            return err_set(e, ERR_SYNTAX, "operation %04x instead of C-STORE-RSP", c.field);
        }
    }
}

static enum err pending(struct retrieve *v, struct errmsg *e)
{
    struct cmd c;
    uint8_t    context;
    enum err   rc = v->move ? msg_poll(v->s->assoc, &c, &context, e) : ERR_MORE;
    if (rc == ERR_OK && c.field == C_CANCEL_RQ) {
        v->cancelled = true;
    } else if (rc != ERR_MORE) {
        return rc != ERR_OK ? rc : err_set(e, ERR_SYNTAX, "operation %04x during C-MOVE", c.field);
    }
    if (!is_deadline_past(v->next_pending)) {
        return ERR_OK;
    }
    v->next_pending = deadline_in_ms(LIMIT_PENDING_MS);
    unsigned   done = (unsigned)v->completed + v->failed + v->warning;
    struct cmd p = answer_to(v->r, ST_PENDING, NULL);
    p.has_counts = p.has_remaining = true;
    p.remaining = (uint16_t)(v->total > done ? v->total - done : 0);
    p.completed = v->completed;
    p.failed = v->failed;
    p.warning = v->warning;
    return msg_send(v->s->assoc, v->r->context, &p, NULL, e);
}

static void sub_failed(struct retrieve *v, const struct object *o, const char *why)
{
    count_up(&v->failed);
    v->s->scp->stats.suboperation_failures++;
    if (v->failed_uids.len > 0) {
        buf_u8(&v->failed_uids, '\\');
    }
    buf_str(&v->failed_uids, str_of(o->image.sop_uid));
    log_warn("suboperation.failed", "tenant=%.*s sop=%s why=%s", STR_ARG(v->s->tenant.code),
             o->image.sop_uid, log_q(str_of(why)).z);
}

/* ERR_CLOSED, ERR_TIMEOUT: the association that carries the sub-operations is gone. */
static enum err try_once(struct retrieve *v, const struct object *o, uint16_t *ret_status,
                         struct errmsg *why)
{
    enum err rc = v->move ? ready_out(v, &o->image, why) : ERR_OK;
    if (rc != ERR_OK) {
        return rc;
    }
    const struct assoc_ctx *c = pick_ctx(v, &o->image);
    if (c == NULL) {
        return err_set(why, ERR_UNSUPPORTED,
                       "no accepted context for class %s in transfer syntax %s", o->image.class_uid,
                       o->image.syntax_uid);
    }
    uint16_t      id = assoc_next_id(v->out);
    struct object now = *o;
    rc = send_object(v, &now, c, id, why);
    if (rc == ERR_CONFLICT) {
        return try_once(v, &now, ret_status, why);
    }
    return rc != ERR_OK ? rc : store_answer(v, id, ret_status, why);
}

static bool is_gone(enum err rc)
{
    return rc == ERR_CLOSED || rc == ERR_TIMEOUT || rc == ERR_SYNTAX || rc == ERR_IO;
}

static enum err suboperation(struct retrieve *v, const struct object *o, struct errmsg *e)
{
    struct errmsg why = {0};
    uint16_t      status = ST_SUCCESS;
    enum err      rc = try_once(v, o, &status, &why);
    while (v->move && is_gone(rc) && v->retries < LIMIT_MOVE_RETRIES) {
        v->retries++;
        assoc_free(v->out);
        v->out = NULL;
        why = (struct errmsg){0};
        rc = try_once(v, o, &status, &why);
    }
    v->s->scp->stats.suboperations++;
    if (rc == ERR_OK && status == ST_SUCCESS) {
        count_up(&v->completed);
        v->retries = 0; // the allowance is for failures in a row
    } else if (rc == ERR_OK && (status & 0xF000) == 0xB000) {
        count_up(&v->warning);
    } else {
        (void)err_set(&why, ERR_DENIED, "status %04x", status);
        sub_failed(v, o, why.text);
        if (!v->move && is_gone(rc)) {
            *e = why;
            return rc; // C-GET: nobody is left to answer to
        }
        if (v->move && is_gone(rc)) {
            assoc_free(v->out);
            v->out = NULL;
        }
    }
    return pending(v, e);
}

/* ---- the operation */

static enum err finish(struct retrieve *v, enum err rc, const struct errmsg *why, struct errmsg *e)
{
    bool       none = v->completed == 0 && v->warning == 0 && v->failed > 0;
    uint16_t   status = v->cancelled                 ? ST_CANCEL
                        : rc != ERR_OK               ? query_status(rc)
                        : none                       ? ST_NO_SUBOPERATIONS
                        : v->failed + v->warning > 0 ? ST_SOME_FAILED
                                                     : ST_SUCCESS;
    struct cmd c = answer_to(v->r, status, why);
    unsigned   done = (unsigned)v->completed + v->failed + v->warning;
    c.has_counts = true;
    c.has_remaining = v->cancelled;
    c.remaining = (uint16_t)(v->total > done ? v->total - done : 0);
    c.completed = v->completed;
    c.failed = v->failed;
    c.warning = v->warning;
    if (v->failed_uids.len == 0 || v->failed_uids.err != ERR_OK) {
        return msg_send(v->s->assoc, v->r->context, &c, NULL, e);
    }
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_DSET);
    struct dset *d = dset_new(&a);
    c.has_data = d != NULL &&
                 dset_put(d, DT_FailedSOPInstanceUIDList, VR_UI,
                          (struct bytes){v->failed_uids.ptr, v->failed_uids.len}) == ERR_OK &&
                 dset_write(d, ctx_syntax(v->r->ctx), false, &out, NULL) == ERR_OK;
    struct bytes data = {out.ptr, out.len};
    return msg_send(v->s->assoc, v->r->context, &c, c.has_data ? &data : NULL, e);
}

static enum err destination(struct retrieve *v, struct arena *a, struct errmsg *e)
{
    struct db_pool *pool = archive_db(v->s->scp->archive);
    struct db      *db = db_pool_take(pool, e);
    if (db == NULL) {
        return e->code;
    }
    enum err rc = peer_by_aet(db, v->s->tenant.id, v->r->cmd.move_destination, a, &v->dest, e);
    db_pool_give(pool, db);
    if (rc == ERR_OK && (v->dest.port == 0 || v->dest.host.len == 0)) {
        rc = err_set(e, ERR_NOTFOUND, "peer %.*s has no address to send to",
                     STR_ARG(v->r->cmd.move_destination));
    }
    return rc;
}

static enum err prepare(struct retrieve *v, struct arena *a, bool *ret_unknown, struct errmsg *why)
{
    enum qr_root root = ROOT_STUDY;
    enum level   level;
    (void)qr_class(v->r->ctx->abstract, &root);
    enum err rc = v->move ? destination(v, a, why) : ERR_OK;
    *ret_unknown = rc == ERR_NOTFOUND;
    if (rc == ERR_OK) {
        rc = identifier_level(v->keys, root, &level, why);
    }
    if (rc == ERR_OK) {
        rc = list_series(v, level, why);
    }
    if (rc == ERR_OK) {
        rc = list_wanted(v, a, why);
    }
    if (rc == ERR_OK) {
        v->pairs = calloc(PAIRS_MAX, sizeof(*v->pairs)); // allow-banned: freed in scp_retrieve
        rc = v->pairs == NULL ? err_set(why, ERR_NOMEM, "retrieval") : for_all(v, survey, why);
    }
    return rc;
}

enum err scp_retrieve(struct served *s, const struct request *r, bool move, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf raw;
    buf_init(&raw, LIMIT_IDENTIFIER);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct retrieve v = {.s = s, .r = r, .move = move, .out = move ? NULL : s->assoc};
    struct errmsg   why = {0};
    struct dset    *keys = NULL;
    bool            unknown = false;
    enum err        rc = ERR_OK;
    int64_t         t0 = clock_mono_ns();
    /* The strings of the command are valid until the next message: sub-operations of C-GET come in
     * between. */
    struct request  mine = *r;
    mine.cmd.class_uid = arena_str(&a, r->cmd.class_uid);
    mine.cmd.move_destination = arena_str(&a, r->cmd.move_destination);
    v.r = &mine;
    enum err net = read_identifier(s, &mine, &(struct identifier){&raw, &a, &keys, &rc, &why}, e);
    if (net != ERR_OK) {
        return net;
    }
    (void)(move ? s->scp->stats.moves++ : s->scp->stats.gets++);
    v.keys = keys;
    v.next_pending = deadline_in_ms(LIMIT_PENDING_MS);
    buf_init(&v.failed_uids, LIMIT_VALUE);
    if (rc == ERR_OK) {
        rc = prepare(&v, &a, &unknown, &why);
    }
    if (rc == ERR_OK) {
        net = for_all(&v, suboperation, e);
    }
    close_out(&v);
    if (net == ERR_OK) {
        net = unknown ? send_answer(s, &mine, ST_NO_DESTINATION, &why, e) : finish(&v, rc, &why, e);
    }
    log_info(move ? "move" : "get", "tenant=%.*s completed=%u failed=%u warning=%u ms=%lld err=%s",
             STR_ARG(s->tenant.code), v.completed, v.failed, v.warning,
             (long long)((clock_mono_ns() - t0) / 1000000), err_name(rc));
    arena_done(&v.mem);
    buf_done(&v.failed_uids);
    free(v.pairs);
    free(v.series);
    return net;
}
