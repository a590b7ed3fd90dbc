/* C-FIND, PS3.4 C.4.1: candidates from the index or the images' own headers, decided by
 * dicom/match, answered key by key. */
#include "archive/search.h"
#include "base/limits.h"
#include "base/log.h"
#include "dicom/charset.h"
#include "dicom/tags.h"
#include "scp/scp_priv.h"

struct finding {
    struct served        *s;
    const struct request *r;
    struct search         what;
    enum err              net; // of the association, when that ended the search
    bool                  cancelled;
    uint64_t              answers;
};

/* Return keys of one item: those asked for, or the whole item when the key item is empty. */
static enum err answer_items(struct dset *to, const struct elem *key, const struct dset *from,
                             const struct elem *found)
{
    const struct dset *ask = key->n_items > 0 ? key->items[0] : NULL;
    if (ask == NULL || ask->n == 0) {
        return dset_copy(to, from, found);
    }
    for (size_t i = 0; i < found->n_items; i++) {
        struct dset *item;
        enum err     rc = dset_put_item(to, key->tag, &item);
        for (size_t k = 0; rc == ERR_OK && k < ask->n; k++) {
            const struct elem *el = dset_find(found->items[i], ask->elems[k].tag);
            rc = el != NULL
                     ? dset_copy(item, found->items[i], el)
                     : dset_put(item, ask->elems[k].tag, ask->elems[k].vr, (struct bytes){0});
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

static enum err answer_key(struct dset *to, const struct elem *key, const struct dset *candidate)
{
    const struct elem *found = dset_find(candidate, key->tag);
    if (found == NULL) {
        return dset_put(to, key->tag, key->vr == VR_NONE ? dict_vr(key->tag) : key->vr,
                        (struct bytes){0});
    }
    return key->vr == VR_SQ && found->vr == VR_SQ ? answer_items(to, key, candidate, found)
                                                  : dset_copy(to, candidate, found);
}

static enum err fill(const struct finding *q, const struct dset *candidate, struct str charset,
                     struct dset *to)
{
    enum err rc = dset_put_str(to, DT_SpecificCharacterSet, charset);
    for (size_t i = 0; rc == ERR_OK && i < q->what.keys->n; i++) {
        const struct elem *key = &q->what.keys->elems[i];
        if (!is_search_control(key->tag) && tag_group(key->tag) > 2) {
            rc = answer_key(to, key, candidate);
        }
    }
    for (size_t i = 0; rc == ERR_OK && i <= q->what.level; i++) {
        const struct elem *el = dset_find(candidate, qr_unique_key[i]);
        rc = el != NULL ? dset_copy(to, candidate, el) : ERR_OK;
    }
    if (rc == ERR_OK) {
        rc = dset_put_str(to, DT_QueryRetrieveLevel, str_of(qr_level_name[q->what.level]));
    }
    if (rc == ERR_OK) {
        rc = dset_put_str(to, DT_RetrieveAETitle, q->s->tenant.aet);
    }
    if (rc == ERR_OK && dset_find(q->what.keys, DT_InstanceAvailability) != NULL) {
        rc = dset_put_str(to, DT_InstanceAvailability, STR("ONLINE"));
    }
    return rc;
}

/* Can every text of the (UTF-8) answer be said in this character set? */
static bool is_sayable(const struct dset *d, struct str charset)
{
    CLEANUP(buf_done) struct buf scratch;
    buf_init(&scratch, LIMIT_VALUE);
    for (size_t i = 0; i < d->n; i++) {
        const struct elem *el = &d->elems[i];
        for (size_t k = 0; k < el->n_items; k++) {
            if (!is_sayable(el->items[k], charset)) {
                return false;
            }
        }
        buf_clear(&scratch);
        if (is_vr_text(el->vr) && !el->left_out &&
            !charset_encode(str_bytes(charset), el->vr, dset_text(d, el->tag), &scratch)) {
            return false;
        }
    }
    return true;
}

/* The peer's own set, else that of the query, else Latin 1 (which every old station reads); UTF-8
 * when none of them will do. */
static struct str pick_charset(const struct finding *q, const struct dset *utf8)
{
    struct bytes asked = dset_charset(q->what.keys);
    struct str   query = {(const char *)asked.ptr, asked.len};
    struct str   first = q->s->peer.charset.len > 0 ? q->s->peer.charset
                         : query.len > 0            ? query
                                                    : STR("ISO_IR 100");
    return is_sayable(utf8, first) ? first : STR("ISO_IR 192");
}

static enum err send_row(void *ctx, const struct search_found *f, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_FIND_ROW);
    struct finding *q = ctx;
    struct str      charset = STR("ISO_IR 192"); // which can say everything
    struct dset    *to = dset_new(&mem);
    enum err        rc = to != NULL ? fill(q, f->dset, charset, to) : ERR_NOMEM;
    struct str      picked = rc == ERR_OK ? pick_charset(q, to) : charset;
    if (!str_eq(picked, charset)) {
        to = dset_new(&mem);
        rc = to != NULL ? fill(q, f->dset, picked, to) : ERR_NOMEM;
    }
    if (rc != ERR_OK) {
        return err_set(e, ERR_LIMIT, "answer larger than %d bytes", LIMIT_FIND_ROW);
    }
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_FIND_ROW);
    rc = dset_write(to, ctx_syntax(q->r->ctx), false, &out, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct bytes data = {out.ptr, out.len};
    struct cmd   c = answer_to(q->r, f->unmatched_key ? ST_PENDING_KEYS : ST_PENDING, NULL);
    c.has_data = true;
    q->answers++;
    q->s->scp->stats.find_answers++;
    q->net = msg_send(q->s->assoc, q->r->context, &c, &data, e);
    return q->net;
}

static enum err look_for_cancel(void *ctx, struct errmsg *e)
{
    struct finding *q = ctx;
    struct cmd      c;
    uint8_t         context;
    enum err        rc = msg_poll(q->s->assoc, &c, &context, e);
    if (rc == ERR_MORE) {
        return ERR_OK;
    }
    q->cancelled = rc == ERR_OK && c.field == C_CANCEL_RQ;
    q->net = rc != ERR_OK || q->cancelled
                 ? rc
                 : err_set(e, ERR_SYNTAX, "operation %04x during C-FIND", c.field);
    return q->cancelled ? ERR_CLOSED : q->net;
}

/* Baseline rule, PS3.4 C.4.1.2.1: without relational negotiation, the unique keys above the level
 * are expected.  Only the one query that would read every header of the tenant is refused for that.
 */
static enum err check_scope(const struct finding *q, struct errmsg *e)
{
    if (q->what.level == LEVEL_IMAGE && !q->s->relational &&
        !has_value(q->what.keys, DT_StudyInstanceUID) &&
        !has_value(q->what.keys, DT_SeriesInstanceUID) && !has_value(q->what.keys, DT_PatientID)) {
        return err_set(e, ERR_SYNTAX, "IMAGE level needs a patient, study or series");
    }
    return ERR_OK;
}

enum err scp_find(struct served *s, const struct request *r, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf raw;
    buf_init(&raw, LIMIT_IDENTIFIER);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct finding q = {.s = s, .r = r};
    struct dset   *keys = NULL;
    struct errmsg  why = {0};
    enum qr_root   root = ROOT_STUDY;
    enum err       rc = ERR_OK;
    int64_t        t0 = clock_mono_ns();
    enum err       net = read_identifier(s, r, &(struct identifier){&raw, &a, &keys, &rc, &why}, e);
    if (net != ERR_OK) {
        return net;
    }
    s->scp->stats.finds++;
    (void)qr_class(r->ctx->abstract, &root);
    q.what = (struct search){
        .tenant_id = s->tenant.id,
        .keys = keys,
        .opts = {.zone_minutes = s->scp->zone_minutes, .combined = s->combined},
    };
    if (rc == ERR_OK) {
        rc = identifier_level(keys, root, &q.what.level, &why);
    }
    if (rc == ERR_OK) {
        rc = check_scope(&q, &why);
    }
    if (rc == ERR_OK) {
        rc = archive_search(s->scp->archive, &q.what,
                            &(struct search_sink){send_row, look_for_cancel, &q}, &why);
    }
    if (q.net != ERR_OK) {
        *e = why;
        return q.net;
    }
    rc = q.cancelled ? ERR_OK : rc;
    log_info("find", "tenant=%.*s level=%s answers=%llu ms=%lld err=%s", STR_ARG(s->tenant.code),
             qr_level_name[q.what.level], (unsigned long long)q.answers,
             (long long)((clock_mono_ns() - t0) / 1000000), err_name(rc));
    return send_answer(s, r,
                       rc != ERR_OK  ? query_status(rc)
                       : q.cancelled ? ST_CANCEL
                                     : ST_SUCCESS,
                       &why, e);
}
