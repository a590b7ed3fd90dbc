#include <stdlib.h>

#include "archive/ingest_priv.h"
#include "base/clock.h"

static enum err uid_set(char ret[65], struct str uid, const char *what, struct errmsg *e)
{
    if (!is_uid_usable(uid)) {
        return err_set(e, ERR_SYNTAX, "%s is not usable", what);
    }
    memcpy(ret, uid.ptr, uid.len);
    ret[uid.len] = '\0';
    return ERR_OK;
}

// NOLINTNEXTLINE(readability-function-size): agreed with the callers, who have it all in locals
enum err ingest_begin(struct archive *a, const struct ingest_from *from, struct str class_uid,
                      struct str sop_uid, struct str syntax_uid, struct ingest **ret,
                      struct errmsg *e)
{
    struct ingest *i = calloc(1, sizeof(*i));
    if (i == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for an object");
    }
    i->a = a;
    i->from = *from;
    i->received_us = clock_wall_us();
    i->aside.fd = -1;
    head_init(&i->head);
    enum err rc = uid_set(i->class_uid, class_uid, "SOP Class UID", e);
    if (rc == ERR_OK) {
        rc = uid_set(i->sop_uid, sop_uid, "SOP Instance UID", e);
    }
    if (rc == ERR_OK) {
        rc = uid_set(i->syntax_uid, syntax_uid, "Transfer Syntax UID", e);
    }
    uint64_t left;
    if (rc == ERR_OK) {
        rc = archive_space(a, &left, e);
    }
    if (rc != ERR_OK) {
        head_done(&i->head);
        free(i);
        return rc;
    }
    *ret = i;
    return ERR_OK;
}

/* ---- where it belongs */

static void object_of(const struct ingest *i, const struct img *m, struct object *ret)
{
    img_get(&i->s->images, m, &ret->image);
    ret->open = true; // or sealed: object_open looks for both
}

static enum err object_path(const struct ingest *i, uint32_t n, struct object *o, struct errmsg *e)
{
    struct pack_origin origin = {.tenant = str_of(i->s->tenant),
                                 .study_uid = str_of(i->s->study_uid),
                                 .series_uid = str_of(i->s->series_uid),
                                 .n = n};
    return pack_path(o->path, i->a->root, &origin, true, e);
}

/* What the series has under the object's UID. */
static bool is_there(const struct ingest *i, struct object *ret, uint32_t *ret_n)
{
    lock_take(&i->s->lock);
    const struct img *m = imgset_find(&i->s->images, str_of(i->sop_uid));
    bool              there = m != NULL && m->state == IMG_PRESENT;
    if (there) {
        object_of(i, m, ret);
        *ret_n = m->pack_n;
    }
    lock_give(&i->s->lock);
    return there;
}

/* Find its series; then it is a duplicate, or a pack is taken for it. */
static enum err settle(struct ingest *i, struct errmsg *e)
{
    struct series_key k = {.tenant_id = i->from.tenant_id,
                           .tenant = i->from.tenant,
                           .study_uid = str_of(i->head.study_uid),
                           .series_uid = str_of(i->head.series_uid)};
    enum err          rc = series_ref(i->a, &k, &i->s, e);
    if (rc == ERR_OK) {
        rc = series_load(i->a, i->s, false, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    struct object o = {0};
    uint32_t      n = 0;
    if (is_there(i, &o, &n)) {
        i->stage = STAGE_ASIDE;
        rc = object_path(i, n, &o, e);
        return rc == ERR_OK ? aside_begin(i, &o, e) : rc;
    }
    rc = slot_take(i->a, i->s, &i->from, &i->slot, e);
    if (rc != ERR_OK) {
        return rc;
    }
    lock_take(&i->s->lock);
    i->head.want_dset =
        i->slot->row_id == 0 || !is_class_filed(&i->s->images, str_of(i->class_uid));
    lock_give(&i->s->lock);
    return ERR_OK;
}

/* After a failure of the pack other than a full disk its state is not known: it is looked at afresh
 * before it is used again. */
static enum err pack_rc(struct ingest *i, enum err rc)
{
    i->broken = i->broken || (rc != ERR_OK && rc != ERR_LIMIT && rc != ERR_SYNTAX);
    return rc;
}

static enum err store_begin(struct ingest *i, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf head;
    buf_init(&head, LIMIT_PART10_HEAD);
    enum err     rc = head_part10(i, &head, e);
    struct bytes front;
    if (rc == ERR_OK) {
        rc = buf_end(&head, &front);
    }
    if (rc == ERR_OK) {
        rc = pack_rc(i, pack_image_begin(i->slot->pack, str_of(i->sop_uid), str_of(i->class_uid),
                                         str_of(i->syntax_uid), front, e));
    }
    if (rc == ERR_OK) {
        i->stage = STAGE_STORE;
    }
    return rc;
}

static enum err feed(struct ingest *i, struct bytes piece, struct errmsg *e)
{
    if (i->stage == STAGE_ASIDE) {
        return aside_add(i, piece, e);
    }
    return pack_rc(i, pack_image_add(i->slot->pack, piece, e));
}

/* The front is not enough yet; when it has doubled it is worth another look. */
static void wait_for_more(struct head *h, size_t have)
{
    h->next = have * 2 < LIMIT_INGEST_HEAD ? have * 2 : LIMIT_INGEST_HEAD;
}

/* From what is kept.  ERR_MORE: stay in STAGE_HEAD. */
static enum err head_kept(struct ingest *i, enum head_end end, struct errmsg *e)
{
    struct head *h = &i->head;
    struct bytes front = {h->kept.ptr, h->kept.len};
    enum err     rc = i->s == NULL ? head_uids(i, front, end, e) : ERR_OK;
    if (rc == ERR_OK && i->s == NULL) {
        rc = settle(i, e);
    }
    if (rc == ERR_OK && i->stage == STAGE_HEAD && h->want_dset) {
        rc = head_dset(i, end, e);
    }
    if (rc == ERR_OK && i->stage == STAGE_HEAD) {
        rc = store_begin(i, e);
    }
    if (rc == ERR_MORE) {
        wait_for_more(h, h->kept.len);
        return rc;
    }
    if (rc == ERR_OK) {
        rc = feed(i, front, e);
    }
    if (h->dset == NULL) {
        buf_done(&h->kept);
        buf_init(&h->kept, LIMIT_INGEST_HEAD);
    }
    return rc;
}

/* The usual case: the first piece says it all, and nothing has to be kept.  ERR_MORE: keep it. */
static enum err head_direct(struct ingest *i, struct bytes piece, struct errmsg *e)
{
    enum err rc = head_uids(i, piece, HEAD_MORE_COMES, e);
    if (rc == ERR_OK) {
        rc = settle(i, e);
    }
    if (rc == ERR_OK && i->stage == STAGE_HEAD) {
        rc = i->head.want_dset ? ERR_MORE : store_begin(i, e);
    }
    return rc == ERR_OK ? feed(i, piece, e) : rc;
}

static enum err head_add(struct ingest *i, struct bytes piece, struct errmsg *e)
{
    struct head *h = &i->head;
    if (h->kept.len == 0 && piece.len <= LIMIT_INGEST_HEAD) {
        enum err rc = head_direct(i, piece, e);
        if (rc != ERR_MORE) {
            return rc;
        }
    }
    size_t       room = LIMIT_INGEST_HEAD - h->kept.len;
    struct bytes part = {piece.ptr, piece.len < room ? piece.len : room};
    buf_add(&h->kept, part);
    struct bytes all;
    if (buf_end(&h->kept, &all) != ERR_OK) {
        return err_set(e, ERR_NOMEM, "no memory for the front of a data set");
    }
    bool full = all.len >= LIMIT_INGEST_HEAD;
    if (all.len < h->next && !full) {
        return ERR_OK;
    }
    enum err rc = head_kept(i, full ? HEAD_FULL : HEAD_MORE_COMES, e);
    if (rc == ERR_MORE) {
        return ERR_OK;
    }
    struct bytes rest = {piece.ptr + part.len, piece.len - part.len};
    return rc == ERR_OK && rest.len > 0 ? feed(i, rest, e) : rc;
}

enum err ingest_add(struct ingest *i, struct bytes piece, struct errmsg *e)
{
    if (i->why.code != ERR_OK) {
        return err_set(e, i->why.code, "%s", i->why.text);
    }
    if (piece.len == 0) {
        return ERR_OK;
    }
    enum err rc = i->stage == STAGE_HEAD ? head_add(i, piece, &i->why) : feed(i, piece, &i->why);
    i->len += piece.len;
    if (rc != ERR_OK) {
        i->why.code = rc;
        return err_set(e, rc, "%s", i->why.text);
    }
    return ERR_OK;
}

/* ---- the end */

struct filing {
    const struct ingest *i;
    int64_t              row_id;
};

static enum err file_work(struct db *db, void *arg, struct errmsg *e)
{
    struct filing       *f = arg;
    const struct ingest *i = f->i;
    struct series_ids    ids;
    enum err             rc = index_file(db, i->from.tenant_id, i->head.dset, &ids, e);
    if (rc != ERR_OK || i->slot->row_id != 0) {
        return rc;
    }
    struct pack_row row = {.tenant_id = i->from.tenant_id,
                           .series_id = ids.series_id,
                           .n = i->slot->n,
                           .state = PACK_OPEN};
    return pack_row_add(db, &row, &f->row_id, e);
}

/* Rows before the image is durable: a crash in between leaves a row without images, which the next
 * start clears away; the other way round would leave an image that no row leads to. */
static enum err file_rows(struct ingest *i, struct errmsg *e)
{
    if (i->head.dset == NULL) {
        return ERR_OK;
    }
    struct filing f = {.i = i, .row_id = i->slot->row_id};
    enum err      rc = archive_tx(i->a, file_work, &f, e);
    if (rc != ERR_OK) {
        return rc;
    }
    lock_take(&i->s->lock);
    i->slot->row_id = f.row_id;
    imgset_set_filed(&i->s->images, str_of(i->class_uid));
    lock_give(&i->s->lock);
    return ERR_OK;
}

static enum err unfile_work(struct db *db, void *arg, struct errmsg *e)
{
    return pack_row_remove(db, *(int64_t *)arg, e);
}

/* The pack's first image failed after all: no row may say that there is something. */
static void unfile_rows(struct ingest *i)
{
    if (i->slot->row_id == 0 || pack_count(i->slot->pack) > 0) {
        return;
    }
    if (archive_tx(i->a, unfile_work, &i->slot->row_id, NULL) == ERR_OK) {
        lock_take(&i->s->lock);
        i->slot->row_id = 0;
        imgset_unfile(&i->s->images);
        lock_give(&i->s->lock);
    }
}

/* Wait while another thread makes the same UID durable; then it is ours (ERR_OK) or there
 * (ERR_EXISTS). */
static enum err claim(struct ingest *i, uint32_t *ret_img, struct object *there, uint32_t *ret_n,
                      struct errmsg *e)
{
    struct series *s = i->s;
    struct img    *m = NULL;
    lock_take(&s->lock);
    enum err rc;
    while ((rc = imgset_claim(&s->images, str_of(i->sop_uid), str_of(i->class_uid),
                              str_of(i->syntax_uid), &m, e)) == ERR_OK &&
           m->state == IMG_CLAIMED) {
        lock_wait(&s->lock, &s->changed);
    }
    if (rc == ERR_OK && m->state == IMG_PRESENT) {
        object_of(i, m, there);
        *ret_n = m->pack_n;
        rc = ERR_EXISTS;
    } else if (rc == ERR_OK) {
        m->state = IMG_CLAIMED;
        *ret_img = (uint32_t)(m - s->images.v);
    }
    lock_give(&s->lock);
    return rc;
}

static void claim_end(struct ingest *i, uint32_t at, const struct pack_image *p)
{
    lock_take(&i->s->lock);
    struct img *m = &i->s->images.v[at];
    if (p != NULL) {
        img_fill(m, i->slot->n, p);
    } else {
        m->state = IMG_GONE;
    }
    (void)pthread_cond_broadcast(&i->s->changed);
    lock_give(&i->s->lock);
}

static enum err store_commit(struct ingest *i, enum ingest_outcome *ret, struct errmsg *e)
{
    struct object there = {0};
    uint32_t      at = 0, n = 0;
    enum err      rc = claim(i, &at, &there, &n, e);
    if (rc == ERR_EXISTS) {
        rc = object_path(i, n, &there, e);
        return rc == ERR_OK ? aside_tail(i, &there, ret, e) : rc;
    }
    if (rc != ERR_OK) {
        return rc;
    }
    struct pack_image image = {0};
    rc = file_rows(i, e);
    if (rc == ERR_OK) {
        rc = pack_rc(i, pack_image_commit(i->slot->pack, &image, e));
        image.number = i->head.number;
    }
    claim_end(i, at, rc == ERR_OK ? &image : NULL);
    if (rc == ERR_OK) {
        *ret = INGEST_STORED;
        return ERR_OK;
    }
    return rc;
}

static void ingest_free(struct ingest *i, bool committed)
{
    if (i->stage == STAGE_STORE && !committed) {
        pack_image_abort(i->slot->pack);
        unfile_rows(i);
    }
    if (i->slot != NULL) {
        slot_give(i->a, i->slot, i->broken);
    }
    aside_abort(&i->aside);
    if (i->s != NULL) {
        series_unref(i->a, i->s);
    }
    head_done(&i->head);
    free(i);
}

static void count(struct ingest *i, enum err rc, enum ingest_outcome how)
{
    _Atomic uint64_t *const what[] = {
        [INGEST_STORED] = &i->a->stats.stored,
        [INGEST_DUPLICATE] = &i->a->stats.duplicates,
        [INGEST_QUARANTINED] = &i->a->stats.quarantined,
    };
    atomic_fetch_add(rc == ERR_OK ? what[how] : &i->a->stats.aborted, 1);
    if (rc == ERR_OK && how == INGEST_STORED) {
        atomic_fetch_add(&i->a->stats.bytes, i->len);
    }
}

enum err ingest_commit(struct ingest *i, enum ingest_outcome *ret, struct errmsg *e)
{
    struct errmsg      *why = &i->why;
    enum ingest_outcome how = INGEST_STORED;
    enum err            rc = why->code;
    if (rc == ERR_OK && i->stage == STAGE_HEAD) {
        rc = head_kept(i, HEAD_ALL, why);
    }
    if (rc == ERR_OK) {
        rc = i->stage == STAGE_ASIDE ? aside_commit(i, &how, why) : store_commit(i, &how, why);
    }
    count(i, rc, how);
    if (rc != ERR_OK) {
        (void)err_set(e, rc, "%s", why->text);
    } else {
        *ret = how;
    }
    ingest_free(i, rc == ERR_OK && how == INGEST_STORED);
    return rc;
}

void ingest_abort(struct ingest *i)
{
    if (i == NULL) {
        return;
    }
    atomic_fetch_add(&i->a->stats.aborted, 1);
    ingest_free(i, false);
}
