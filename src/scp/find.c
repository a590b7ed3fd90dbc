/* C-FIND, PS3.4 C.4.1: candidates from the index or the images' own headers, decided by
 * dicom/match, answered key by key. */
#include "base/limits.h"
#include "base/log.h"
#include "dicom/charset.h"
#include "dicom/match.h"
#include "dicom/tags.h"
#include "scp/scp_priv.h"

struct search {
    struct served        *s;
    const struct request *r;
    const struct dset    *keys;
    enum level            level;
    struct match_opts     opts;
    struct arena          row, image; // reset for each candidate
    bool                  cancelled, unmatched_key;
    uint64_t              answers;
};

/* Keys that steer the query instead of describing what is looked for. */
static bool is_control(uint32_t tag)
{
    return tag == DT_SpecificCharacterSet || tag == DT_QueryRetrieveLevel ||
           tag == DT_TimezoneOffsetFromUTC || tag == DT_RetrieveAETitle ||
           tag == DT_InstanceAvailability;
}

/*
 * Above the image level an attribute that the index does not keep is an unsupported optional key:
 * not matched, and said so by status FF01.  At the image level the header has everything there is,
 * so a missing attribute is one without a value.
 */
static bool is_answer(struct search *q, const struct dset *candidate)
{
    for (size_t i = 0; i < q->keys->n; i++) {
        const struct elem *key = &q->keys->elems[i];
        if (is_control(key->tag) || is_universal(q->keys, key)) {
            continue;
        }
        if (q->level != LEVEL_IMAGE && dset_find(candidate, key->tag) == NULL) {
            q->unmatched_key = true;
            continue;
        }
        if (!is_match_elem(q->keys, key, candidate, &q->opts)) {
            return false;
        }
    }
    return true;
}

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

static enum err fill(struct search *q, const struct dset *candidate, struct str charset,
                     struct dset *to)
{
    enum err rc = dset_put_str(to, DT_SpecificCharacterSet, charset);
    for (size_t i = 0; rc == ERR_OK && i < q->keys->n; i++) {
        const struct elem *key = &q->keys->elems[i];
        if (!is_control(key->tag) && tag_group(key->tag) > 2) {
            rc = answer_key(to, key, candidate);
        }
    }
    for (size_t i = 0; rc == ERR_OK && i <= q->level; i++) {
        const struct elem *el = dset_find(candidate, qr_unique_key[i]);
        rc = el != NULL ? dset_copy(to, candidate, el) : ERR_OK;
    }
    if (rc == ERR_OK) {
        rc = dset_put_str(to, DT_QueryRetrieveLevel, str_of(qr_level_name[q->level]));
    }
    if (rc == ERR_OK) {
        rc = dset_put_str(to, DT_RetrieveAETitle, q->s->tenant.aet);
    }
    if (rc == ERR_OK && dset_find(q->keys, DT_InstanceAvailability) != NULL) {
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
static struct str pick_charset(const struct search *q, const struct dset *utf8)
{
    struct bytes asked = dset_charset(q->keys);
    struct str   query = {(const char *)asked.ptr, asked.len};
    struct str   first = q->s->peer.charset.len > 0 ? q->s->peer.charset
                         : query.len > 0            ? query
                                                    : STR("ISO_IR 100");
    return is_sayable(utf8, first) ? first : STR("ISO_IR 192");
}

static enum err send_row(struct search *q, const struct dset *candidate, struct errmsg *e)
{
    struct str   charset = STR("ISO_IR 192"); // which can say everything
    struct dset *to = dset_new(&q->row);
    enum err     rc = to != NULL ? fill(q, candidate, charset, to) : ERR_NOMEM;
    struct str   picked = rc == ERR_OK ? pick_charset(q, to) : charset;
    if (!str_eq(picked, charset)) {
        to = dset_new(&q->row);
        rc = to != NULL ? fill(q, candidate, picked, to) : ERR_NOMEM;
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
    struct cmd   c = answer_to(q->r, q->unmatched_key ? ST_PENDING_KEYS : ST_PENDING, NULL);
    c.has_data = true;
    q->answers++;
    q->s->scp->stats.find_answers++;
    return msg_send(q->s->assoc, q->r->context, &c, &data, e);
}

static enum err look_for_cancel(struct search *q, struct errmsg *e)
{
    struct cmd c;
    uint8_t    context;
    enum err   rc = msg_poll(q->s->assoc, &c, &context, e);
    if (rc == ERR_MORE) {
        return ERR_OK;
    }
    if (rc == ERR_OK && c.field == C_CANCEL_RQ) {
        q->cancelled = true;
        return ERR_OK;
    }
    return rc != ERR_OK ? rc : err_set(e, ERR_SYNTAX, "operation %04x during C-FIND", c.field);
}

static enum err read_header(struct search *q, const struct object *o, struct dset **ret,
                            struct errmsg *e)
{
    struct object_file f;
    enum err           rc = object_open(q->s->scp->archive, o, &f, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct parse_opts opts = {
        .max_value = LIMIT_FIND_VALUE, .stop_tag = DT_PixelData, .lenient = LENIENT_ALL};
    const struct syntax *s = syntax_find(str_of(o->image.syntax_uid));
    rc = dset_read(&f.src, 0, s != NULL ? s : &SYNTAX_EXPLICIT, &opts, &q->image, ret, e);
    object_close(&f);
    return rc;
}

/* The images of one series.  An image whose header cannot be read is answered with what is known of
 * it rather than hidden. */
static enum err find_images(struct search *q, int64_t series_id, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena list;
    arena_init(&list, LIMIT_OBJECT_LIST);
    struct object *o;
    size_t         n;
    enum err       rc = archive_list(q->s->scp->archive, series_id, &list, &o, &n, e);
    for (size_t i = 0; rc == ERR_OK && i < n && !q->cancelled; i++) {
        struct dset  *header = NULL;
        struct errmsg why = {0};
        arena_done(&q->image);
        arena_init(&q->image, LIMIT_FIND_ROW);
        if (read_header(q, &o[i], &header, &why) != ERR_OK) {
            log_error("find.header", "sop=%s why=%s", o[i].image.sop_uid,
                      log_q(str_of(why.text)).z);
            continue;
        }
        if (is_answer(q, header)) {
            arena_done(&q->row);
            arena_init(&q->row, LIMIT_FIND_ROW);
            rc = send_row(q, header, e);
        }
        if (rc == ERR_OK && i % 32 == 0) {
            rc = look_for_cancel(q, e);
        }
    }
    return rc;
}

static enum err find_rows(struct search *q, struct find *f, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_FIND_ROW);
    for (unsigned i = 0; !q->cancelled; i++) {
        struct find_row row;
        arena_done(&mem);
        arena_init(&mem, LIMIT_FIND_ROW);
        enum err rc = find_next(f, &mem, &row, e);
        if (rc != ERR_OK) {
            return rc == ERR_NOTFOUND ? ERR_OK : rc;
        }
        arena_done(&q->row);
        arena_init(&q->row, LIMIT_FIND_ROW);
        if (q->level == LEVEL_IMAGE) {
            rc = find_images(q, row.ids.series_id, e);
        } else if (is_answer(q, row.dset)) {
            rc = send_row(q, row.dset, e);
        }
        if (rc == ERR_OK && i % 32 == 0) {
            rc = look_for_cancel(q, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

/* Baseline rule, PS3.4 C.4.1.2.1: without relational negotiation, the unique keys above the level
 * are expected.  Only the one query that would read every header of the tenant is refused for that.
 */
static enum err check_scope(const struct search *q, struct errmsg *e)
{
    if (q->level == LEVEL_IMAGE && !q->s->relational && !has_value(q->keys, DT_StudyInstanceUID) &&
        !has_value(q->keys, DT_SeriesInstanceUID) && !has_value(q->keys, DT_PatientID)) {
        return err_set(e, ERR_SYNTAX, "IMAGE level needs a patient, study or series");
    }
    return ERR_OK;
}

static enum err search(struct search *q, enum err *rc, struct errmsg *why, struct errmsg *e)
{
    struct db_pool *pool = archive_db(q->s->scp->archive);
    struct db      *db = db_pool_take(pool, why);
    struct find    *f = NULL;
    enum err        net = ERR_OK;
    *rc = db == NULL
              ? why->code
              : index_find(db, q->s->tenant.id, q->level == LEVEL_IMAGE ? LEVEL_SERIES : q->level,
                           q->keys, &f, why);
    if (*rc == ERR_OK) {
        net = find_rows(q, f, e);
        find_free(f);
    }
    db_pool_give(pool, db);
    return net;
}

enum err scp_find(struct served *s, const struct request *r, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf raw;
    buf_init(&raw, LIMIT_IDENTIFIER);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct search q = {.s = s, .r = r};
    struct dset  *keys = NULL;
    struct errmsg why = {0};
    enum qr_root  root = ROOT_STUDY;
    enum err      rc = ERR_OK;
    int64_t       t0 = clock_mono_ns();
    enum err      net = read_identifier(s, r, &(struct identifier){&raw, &a, &keys, &rc, &why}, e);
    if (net != ERR_OK) {
        return net;
    }
    s->scp->stats.finds++;
    (void)qr_class(r->ctx->abstract, &root);
    q.keys = keys;
    if (rc == ERR_OK) {
        rc = identifier_level(keys, root, &q.level, &why);
    }
    if (rc == ERR_OK) {
        q.opts = (struct match_opts){.zone_minutes = s->scp->zone_minutes, .combined = s->combined};
        rc = check_scope(&q, &why);
    }
    if (rc == ERR_OK) {
        net = search(&q, &rc, &why, e);
        arena_done(&q.row);
        arena_done(&q.image);
    }
    if (net == ERR_CLOSED || net == ERR_TIMEOUT || net == ERR_SYNTAX) {
        return net;
    }
    if (net != ERR_OK) { // not the association but the search failed, half way: the caller must not
                         // take it for complete
        rc = net;
        why = *e;
        *e = (struct errmsg){0};
    }
    log_info("find", "tenant=%.*s level=%s answers=%llu ms=%lld err=%s", STR_ARG(s->tenant.code),
             qr_level_name[q.level], (unsigned long long)q.answers,
             (long long)((clock_mono_ns() - t0) / 1000000), err_name(rc));
    return send_answer(s, r,
                       rc != ERR_OK  ? query_status(rc)
                       : q.cancelled ? ST_CANCEL
                                     : ST_SUCCESS,
                       &why, e);
}
