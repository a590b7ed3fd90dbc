#include "archive/reject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive/archive_priv.h"
#include "archive/reject_priv.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "pack/jsonr.h"
#include "sys/file.h"

enum { FILE_MODE = 0640 };

/* ---- the file */

/* Of a pack's folder: the path of any of its packs, without its end. */
static enum err reject_path(const struct archive *a, const struct reject *r, struct str series_uid,
                            char ret[PACK_PATH], struct errmsg *e)
{
    static const char  end[] = ".1.tar";
    char               path[PACK_PATH];
    struct pack_origin o = {
        .tenant = r->tenant, .study_uid = r->study_uid, .series_uid = series_uid, .n = 1};
    enum err rc = pack_path(path, a->root, &o, false, e);
    if (rc != ERR_OK) {
        return rc;
    }
    int n =
        snprintf(ret, PACK_PATH, "%.*s%s", (int)(strlen(path) - strlen(end)), path, REJECT_SUFFIX);
    return n > 0 && n < PACK_PATH ? ERR_OK : err_set(e, ERR_LIMIT, "path of %d bytes", n);
}

/* Both sets together, or what is only in the first. */
static enum err merge(struct uid_set *to, const struct uid_set *more, bool add, struct arena *a)
{
    struct str *v = arena_array(a, to->n + more->n + 1, struct str);
    size_t      n = 0, i = 0, k = 0;
    if (v == NULL) {
        return ERR_LIMIT;
    }
    while (i < to->n || k < more->n) {
        int c = i == to->n ? 1 : k == more->n ? -1 : uid_order(&to->v[i], &more->v[k]);
        if (c < 0 || (add && c == 0)) {
            v[n++] = to->v[i];
        } else if (add) {
            v[n++] = more->v[k];
        }
        i += c <= 0 ? 1 : 0;
        k += c >= 0 ? 1 : 0;
    }
    *to = (struct uid_set){v, n};
    return ERR_OK;
}

static enum err set_add(struct uid_set *s, size_t *room, struct str uid, struct arena *a)
{
    if (s->n == *room) {
        *room = *room == 0 ? 64 : *room * 2;
        struct str *v = arena_array(a, *room, struct str);
        if (v == NULL) {
            return ERR_LIMIT;
        }
        if (s->n > 0) {
            memcpy(v, s->v, s->n * sizeof(*v));
        }
        s->v = v;
    }
    s->v[s->n++] = uid;
    return ERR_OK;
}

static void set_order(struct uid_set *s)
{
    size_t n = 0;
    if (s->n > 1) {
        qsort(s->v, s->n, sizeof(*s->v), uid_order);
    }
    for (size_t i = 0; i < s->n; i++) {
        if (n == 0 || !str_eq(s->v[n - 1], s->v[i])) {
            s->v[n++] = s->v[i];
        }
    }
    s->n = n;
}

static enum err line_parse(struct bytes line, struct arena *a, struct uid_set *state)
{
    struct jsonr   r;
    struct str     k, what = STR("");
    struct uid_set sops = {0};
    size_t         room = 0;
    enum err       rc = ERR_OK;
    jsonr_init(&r, line, a);
    jsonr_obj(&r);
    while (jsonr_key(&r, &k)) {
        if (str_eq(k, STR("what"))) {
            what = jsonr_str(&r);
        } else if (str_eq(k, STR("sops"))) {
            jsonr_arr(&r);
            while (jsonr_item(&r)) {
                struct str uid = jsonr_str(&r);
                rc = rc == ERR_OK && is_uid_usable(uid) ? set_add(&sops, &room, uid, a) : rc;
            }
        } else {
            jsonr_skip(&r);
        }
    }
    rc = rc == ERR_OK ? jsonr_end(&r) : rc;
    bool restore = str_eq(what, STR("restore"));
    if (rc == ERR_OK && !restore && !str_eq(what, STR("reject"))) {
        rc = ERR_SYNTAX;
    }
    set_order(&sops);
    return rc == ERR_OK ? merge(state, &sops, !restore, a) : rc;
}

enum err rejects_parse(struct bytes lines, struct arena *a, struct uid_set *ret, struct errmsg *e)
{
    struct uid_set state = {0};
    for (unsigned n = 1; lines.len > 0; n++) {
        const uint8_t *end = memchr(lines.ptr, '\n', lines.len);
        size_t         len = end != NULL ? (size_t)(end - lines.ptr) : lines.len;
        enum err       rc = line_parse((struct bytes){lines.ptr, len}, a, &state);
        if (rc != ERR_OK) {
            return err_set(e, rc, "line %u of the rejected images cannot be read", n);
        }
        len += end != NULL ? 1 : 0;
        lines = (struct bytes){lines.ptr + len, lines.len - len};
    }
    *ret = state;
    return ERR_OK;
}

static void field(struct jsonw *w, struct str key, struct str value)
{
    jsonw_key(w, key);
    jsonw_str(w, value);
}

static void line_write(const struct reject *r, const struct uid_set *sops, struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_obj(&w);
    field(&w, STR("what"), r->restore ? STR("restore") : STR("reject"));
    jsonw_key(&w, STR("at"));
    jsonw_i64(&w, clock_wall_us());
    field(&w, STR("who"), r->who);
    field(&w, STR("code"), r->code);
    field(&w, STR("reason"), r->reason);
    jsonw_key(&w, STR("sops"));
    jsonw_arr(&w);
    for (size_t i = 0; i < sops->n; i++) {
        jsonw_str(&w, sops->v[i]);
    }
    jsonw_arr_end(&w);
    jsonw_obj_end(&w);
    buf_u8(out, '\n');
}

/* ---- one series */

struct set_work {
    int64_t               series_id;
    const struct uid_set *to;
};

static enum err set_work(struct db *db, void *arg, struct errmsg *e)
{
    const struct set_work *w = arg;
    return rejects_set(db, w->series_id, w->to, e);
}

enum err rejects_apply(struct archive *a, int64_t series_id, const struct uid_set *to,
                       struct errmsg *e)
{
    struct set_work w = {series_id, to};
    return archive_tx(a, set_work, &w, e);
}

/* Images that there are and that are not rejected yet. */
static enum err to_reject(struct archive *a, int64_t series_id, struct str sop_uid,
                          struct arena *mem, struct uid_set *ret, struct errmsg *e)
{
    struct object *o = NULL;
    size_t         n = 0, room = 0;
    enum err       rc = archive_list(a, series_id, mem, &o, &n, e);
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        struct str uid = str_of(o[i].image.sop_uid);
        if (sop_uid.len == 0 || str_eq(sop_uid, uid)) {
            rc = set_add(ret, &room, uid, mem);
        }
    }
    set_order(ret);
    return rc;
}

static void to_restore(const struct uid_set *now, struct str sop_uid, struct uid_set *ret)
{
    struct str *at = sop_uid.len > 0 && now->n > 0
                         ? bsearch(&sop_uid, now->v, now->n, sizeof(*now->v), uid_order)
                         : NULL;
    *ret = sop_uid.len == 0 ? *now : (struct uid_set){at, at != NULL ? 1 : 0};
}

/* Held: the lock.  The file first: the index can be made from it again. */
static enum err change_series(struct archive *a, const struct reject *r, int64_t series_id,
                              struct str series_uid, uint64_t *n, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     file;
    CLEANUP(buf_done) struct buf     out;
    char                             path[PACK_PATH];
    struct uid_set                   now = {0}, change = {0};
    struct errmsg                    mine = {0};
    arena_init(&mem, LIMIT_OBJECT_LIST);
    buf_init(&file, LIMIT_REJECTED);
    buf_init(&out, LIMIT_REJECTED);
    enum err rc = reject_path(a, r, series_uid, path, e);
    if (rc != ERR_OK) {
        return rc;
    }
    rc = file_read_all(path, &file, &mine);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        return err_set(e, rc, "%s", mine.text);
    }
    rc = rejects_parse((struct bytes){file.ptr, file.len}, &mem, &now, e);
    if (rc == ERR_OK && r->restore) {
        to_restore(&now, r->sop_uid, &change);
    } else if (rc == ERR_OK) {
        rc = to_reject(a, series_id, r->sop_uid, &mem, &change, e);
    }
    if (rc != ERR_OK || change.n == 0) {
        return rc;
    }
    *n += change.n;
    struct bytes all;
    buf_add(&out, (struct bytes){file.ptr, file.len}); // the sets are views of file
    line_write(r, &change, &out);
    if (buf_end(&out, &all) != ERR_OK) {
        return err_set(e, ERR_LIMIT, "%s is too long", path);
    }
    rc = merge(&now, &change, !r->restore, &mem);
    rc = rc == ERR_OK ? file_commit(path, all, FILE_MODE, e) : rc;
    return rc == ERR_OK ? rejects_apply(a, series_id, &now, e) : rc;
}

/* ---- all of them */

/* One change at a time, here and in other processes. */
static enum err lock_rejects(const struct archive *a, int *ret_fd, struct errmsg *e)
{
    char path[PACK_PATH + 32];
    (void)snprintf(path, sizeof(path), "%s/.rejected.lock", a->root);
    enum err     rc = file_open(path, O_RDWR | O_CREAT, FILE_MODE, ret_fd, e);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (rc == ERR_OK && fcntl(*ret_fd, F_OFD_SETLKW, &l) != 0) {
        if (errno != EINTR) {
            return file_errno(e, "lock", path);
        }
    }
    return rc;
}

struct one {
    int64_t    id;
    struct str uid;
};

/* The series meant. */
static enum err which(struct db *db, const struct reject *r, struct arena *mem, struct one **ret,
                      size_t *ret_n, struct errmsg *e)
{
    struct uid_list all = {0};
    size_t          n = 0;
    enum err        rc = series_uids(db, r->tenant_id, r->study_uid, mem, &all, e);
    struct one     *v = rc == ERR_OK ? arena_array(mem, all.n + 1, struct one) : NULL;
    if (v == NULL) {
        return rc != ERR_OK ? rc : err_set(e, ERR_LIMIT, "a study of %zu series", all.n);
    }
    for (size_t i = 0; rc == ERR_OK && i < all.n; i++) {
        struct series_ids ids = {0};
        if (r->series_uid.len > 0 && !str_eq(r->series_uid, all.v[i])) {
            continue;
        }
        rc = series_by_uid(db, r->tenant_id, r->study_uid, all.v[i], &ids, e);
        v[n++] = (struct one){ids.series_id, all.v[i]};
    }
    *ret = v;
    *ret_n = n;
    return rc;
}

enum err archive_reject(struct archive *a, const struct reject *r, uint64_t *ret_n,
                        struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(file_close) int          fd = -1;
    struct one                      *v = NULL;
    size_t                           series = 0;
    uint64_t                         n = 0;
    arena_init(&mem, LIMIT_DSET);
    enum err   rc = lock_rejects(a, &fd, e);
    struct db *db = rc == ERR_OK ? db_pool_take(a->db, e) : NULL;
    if (db == NULL) {
        return rc != ERR_OK ? rc : e != NULL ? e->code : ERR_IO;
    }
    rc = which(db, r, &mem, &v, &series, e);
    db_pool_give(a->db, db);
    for (size_t i = 0; rc == ERR_OK && i < series; i++) {
        rc = change_series(a, r, v[i].id, v[i].uid, &n, e);
    }
    if (rc == ERR_OK && n == 0) {
        return err_set(e, ERR_NOTFOUND, "%s",
                       r->restore ? "nothing is rejected there" : "there is no such image");
    }
    *ret_n = n;
    return rc;
}
