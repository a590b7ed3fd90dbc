#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/archive_priv.h"
#include "archive/header.h"
#include "archive/registry.h"
#include "archive/reject.h"
#include "archive/reject_priv.h"
#include "base/name.h"
#include "base/num.h"
#include "base/utf8.h"
#include "dicom/part10.h"
#include "sys/file.h"

struct reindex {
    struct archive       *a;
    archive_note         *note;
    void                 *ctx;
    struct reindex_stats *stats;
    int64_t               tenant_id; // of the folder being read
    char                  tenant[33];
};

static void tell(const struct reindex *r, const char *path, const char *what)
{
    if (r->note != NULL) {
        r->note(r->ctx, path, what);
    }
}

static void fail(const struct reindex *r, const char *path, const struct errmsg *why)
{
    r->stats->failed++;
    tell(r, path, why->text);
}

/* ---- tenants and peers */

static enum err tenant_find(struct db *db, struct str code, int64_t *ret_id, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_HEAD_VALUE);
    struct tenant t;
    enum err      rc = tenant_by_code(db, code, &mem, &t, e);
    if (rc == ERR_OK) {
        *ret_id = t.id;
    }
    return rc;
}

struct adding {
    const struct registry_tenant *t;
    uint64_t                      tenants, peers;
};

/* What the database has stays as it is: it is never older than the file. */
static enum err tenant_work(struct db *db, void *arg, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_REGISTRY);
    struct adding *x = arg;
    x->tenants = x->peers = 0;
    int64_t       id = 0;
    struct errmsg mine = {0};
    enum err      rc = tenant_find(db, x->t->tenant.code, &id, &mine);
    if (rc == ERR_NOTFOUND) {
        x->tenants = 1;
        mine = (struct errmsg){0};
        rc = tenant_add(db, &x->t->tenant, &id, &mine);
    }
    for (size_t i = 0; rc == ERR_OK && i < x->t->n_peers; i++) {
        struct peer have, p = x->t->peers[i];
        p.tenant_id = id;
        rc = peer_by_aet(db, id, p.aet, &mem, &have, &mine);
        if (rc == ERR_NOTFOUND) {
            x->peers++;
            mine = (struct errmsg){0};
            int64_t peer_id = 0;
            rc = peer_add(db, &p, &peer_id, &mine);
        }
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

static enum err registry_load(struct reindex *r, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     json;
    char                             path[PACK_PATH + 32];
    struct registry                  reg = {0};
    struct errmsg                    mine = {0};
    struct str                       text;
    arena_init(&mem, LIMIT_REGISTRY);
    buf_init(&json, LIMIT_REGISTRY);
    (void)snprintf(path, sizeof(path), "%s/registry.json", r->a->root);
    enum err rc = file_read_all(path, &json, &mine);
    if (rc == ERR_NOTFOUND) {
        tell(r, path, "missing: tenants are made from the names of their folders");
        return ERR_OK;
    }
    if (rc == ERR_OK && !utf8_check((struct bytes){json.ptr, json.len}, &text)) {
        rc = err_set(&mine, ERR_SYNTAX, "not UTF-8");
    }
    if (rc == ERR_OK) {
        rc = registry_parse(text, &mem, &reg, &mine);
    }
    if (rc != ERR_OK) {
        fail(r, path, &mine);
        return rc == ERR_SYNTAX || rc == ERR_UNSUPPORTED ? ERR_OK : err_set(e, rc, "%s", mine.text);
    }
    for (size_t i = 0; i < reg.n; i++) {
        struct adding x = {.t = &reg.tenants[i]};
        mine = (struct errmsg){0};
        if (archive_tx(r->a, tenant_work, &x, &mine) != ERR_OK) {
            fail(r, path, &mine);
        } else {
            r->stats->tenants += x.tenants;
            r->stats->peers += x.peers;
        }
    }
    return ERR_OK;
}

/* A folder whose tenant nobody knows any more: kept under its code, unreachable until somebody
 * gives it peers and a better AE title than the placeholder, which must be unique. */
static enum err folder_tenant(struct reindex *r, struct str code, struct errmsg *e)
{
    char aet[17];
    (void)snprintf(aet, sizeof(aet), "?%.15s", code.ptr);
    const struct registry_tenant t = {.tenant = {.code = code, .name = code, .aet = str_of(aet)}};
    struct errmsg                mine = {0};
    struct db                   *db = db_pool_take(r->a->db, &mine);
    enum err                     rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = tenant_find(db, code, &r->tenant_id, &mine);
        db_pool_give(r->a->db, db);
    }
    if (rc != ERR_NOTFOUND) {
        return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
    }
    struct adding x = {.t = &t};
    rc = archive_tx(r->a, tenant_work, &x, e);
    if (rc != ERR_OK) {
        return rc;
    }
    r->stats->tenants++;
    tell(r, t.tenant.code.ptr,
         "tenant is not in registry.json: made with a placeholder for its AE title");
    db = db_pool_take(r->a->db, e);
    rc = db != NULL ? tenant_find(db, code, &r->tenant_id, e) : ERR_IO;
    db_pool_give(r->a->db, db);
    return rc;
}

/* ---- one pack */

struct found_pack {
    char             path[PACK_PATH];
    char             study_uid[65], series_uid[65];
    uint32_t         n;
    bool             open;
    bool             locked; // a process writes it
    enum err         rc;     // of looking at it
    struct errmsg    why;
    struct pack_scan scan; // in the arena of its study
};

struct filing {
    const struct reindex    *r;
    const struct found_pack *p;
    struct dset            **headers; // one for each SOP class
    size_t                   n_headers;
};

static enum err row_find(struct db *db, int64_t series_id, uint32_t n, struct arena *mem,
                         struct pack_row *ret, struct errmsg *e)
{
    struct pack_row *rows = NULL;
    size_t           n_rows = 0;
    enum err         rc = pack_rows_of_series(db, series_id, mem, &rows, &n_rows, e);
    for (size_t i = 0; rc == ERR_OK && i < n_rows; i++) {
        if (rows[i].n == n) {
            *ret = rows[i];
            return ERR_OK;
        }
    }
    return rc == ERR_OK ? ERR_NOTFOUND : rc;
}

static struct pack_row row_of(const struct found_pack *p)
{
    const struct pack_scan *s = &p->scan;
    return (struct pack_row){.n = p->n,
                             .state = p->open ? PACK_OPEN : PACK_SEALED,
                             .bytes = p->open ? s->good_end : s->sealed.bytes,
                             .images = (uint32_t)s->n,
                             .manifest_at = s->sealed.manifest_at,
                             .manifest_len = s->sealed.manifest_len,
                             .metadata_at = s->sealed.metadata_at,
                             .metadata_len = s->sealed.metadata_len,
                             .sha256 = STR("")};
}

static bool is_same_row(const struct pack_row *have, const struct pack_row *row)
{
    return have->state == PACK_SEALED && row->state == PACK_SEALED && have->bytes == row->bytes &&
           have->images == row->images && have->manifest_at == row->manifest_at;
}

static enum err pack_work(struct db *db, void *arg, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    const struct filing *f = arg;
    struct series_ids    ids = {0};
    struct pack_row      have = {0}, row = row_of(f->p);
    enum err             rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < f->n_headers; i++) {
        rc = index_file(db, f->r->tenant_id, f->headers[i], &ids, e);
    }
    if (rc == ERR_OK) {
        rc = row_find(db, ids.series_id, row.n, &mem, &have, e);
    }
    row.id = have.id;
    row.tenant_id = f->r->tenant_id;
    row.series_id = ids.series_id;
    if (rc == ERR_NOTFOUND) {
        struct pack_row empty = {
            .tenant_id = row.tenant_id, .series_id = row.series_id, .n = row.n};
        rc = pack_row_add(db, &empty, &row.id, e);
    } else if (rc == ERR_OK && (f->p->locked || is_same_row(&have, &row))) {
        return ERR_OK; // its writer keeps the row; or it is right, and has its digest
    }
    if (rc != ERR_OK) {
        return rc;
    }
    return f->p->open ? pack_row_count(db, row.id, row.bytes, row.images, e)
                      : pack_row_seal(db, &row, e);
}

/* When no header can be read: the pack must be found by its UIDs at least. */
static struct dset *bare_header(const struct found_pack *p, struct arena *mem)
{
    struct dset *d = dset_new(mem);
    bool         good =
        d != NULL &&
        dset_put_str(d, TAG(0x0008, 0x0016), str_of(p->scan.images[0].class_uid)) == ERR_OK &&
        dset_put_str(d, TAG(0x0020, 0x000D), str_of(p->study_uid)) == ERR_OK &&
        dset_put_str(d, TAG(0x0020, 0x000E), str_of(p->series_uid)) == ERR_OK;
    return good ? d : NULL;
}

static bool is_of_pack(const struct dset *d, const struct found_pack *p)
{
    return str_eq(dset_str(d, TAG(0x0020, 0x000D)), str_of(p->study_uid)) &&
           str_eq(dset_str(d, TAG(0x0020, 0x000E)), str_of(p->series_uid));
}

static bool is_class_seen(const struct pack_scan *s, size_t upto, const bool *read, const char *cls)
{
    for (size_t i = 0; i < upto; i++) {
        if (read[i] && strcmp(s->images[i].class_uid, cls) == 0) {
            return true;
        }
    }
    return false;
}

static enum err image_header(int fd, const struct pack_image *p, struct arena *mem,
                             struct dset **ret)
{
    struct fd_window w = {.fd = fd, .at = p->data_at, .len = p->size - (p->data_at - p->at)};
    struct dsrc      src = fd_window_src(&w);
    return header_read(&src, p->syntax_uid, mem, ret, NULL);
}

/* The header of the first readable image of each SOP class: as ingest filed them. */
static enum err headers_read(struct filing *f, int fd, struct arena *mem, struct errmsg *e)
{
    const struct pack_scan *s = &f->p->scan;
    f->headers = arena_array(mem, s->n, struct dset *);
    bool *read = arena_array(mem, s->n, bool);
    if (f->headers == NULL || read == NULL) {
        return err_set(e, ERR_LIMIT, "no memory for %zu images", s->n);
    }
    for (size_t i = 0; i < s->n; i++) {
        struct dset *d = NULL;
        if (i > 0 && is_class_seen(s, i, read, s->images[i].class_uid)) {
            continue;
        }
        if (image_header(fd, &s->images[i], mem, &d) == ERR_OK && is_of_pack(d, f->p)) {
            f->headers[f->n_headers++] = d;
            read[i] = true;
        }
    }
    if (f->n_headers == 0) {
        f->headers[0] = bare_header(f->p, mem);
        f->n_headers = f->headers[0] != NULL ? 1 : 0;
        tell(f->r, f->p->path, "no image has a readable header: filed by its UIDs alone");
    }
    return f->n_headers > 0 ? ERR_OK : err_set(e, ERR_LIMIT, "no memory for a header");
}

/* Does another process write it?  Asked without taking the lock. */
static bool is_locked(int fd)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static enum err identity_check(const struct reindex *r, const struct found_pack *p,
                               struct errmsg *e)
{
    char path[PACK_PATH];
    if (p->scan.origin.tenant.len == 0) { // a foreign tar put there by hand
        return ERR_OK;
    }
    enum err rc = pack_path(path, r->a->root, &p->scan.origin, p->open, e);
    return rc != ERR_OK || strcmp(path, p->path) == 0
               ? rc
               : err_set(e, ERR_SYNTAX, "says that it belongs elsewhere: %.200s", path);
}

static void pack_look(const struct reindex *r, struct found_pack *p, struct arena *mem)
{
    CLEANUP(file_close) int fd = -1;
    p->rc = file_open(p->path, O_RDONLY, 0, &fd, &p->why);
    if (p->rc != ERR_OK) {
        return;
    }
    p->locked = p->open && is_locked(fd);
    p->rc = pack_scan_fd(fd, p->open && !p->locked, mem, &p->scan, &p->why);
    if (p->rc == ERR_OK && !p->open && p->scan.sealed.bytes == 0) {
        p->rc = err_set(&p->why, ERR_SYNTAX, "named as sealed, but not whole");
    }
    if (p->rc == ERR_OK) {
        p->rc = identity_check(r, p, &p->why);
    }
}

/* An open pack that nobody writes and that holds nothing. */
static void empty_remove(const struct reindex *r, const struct found_pack *p)
{
    struct pack_origin o = {.tenant = str_of(r->tenant),
                            .study_uid = str_of(p->study_uid),
                            .series_uid = str_of(p->series_uid),
                            .n = p->n};
    struct pack       *pack = NULL;
    if (pack_reopen(r->a->root, &o, &pack, NULL) == ERR_OK) {
        pack_close(pack);
    }
}

static void pack_index(struct reindex *r, struct found_pack *p)
{
    CLEANUP(file_close) int          fd = -1;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct filing f = {.r = r, .p = p};
    if (p->rc == ERR_NOTFOUND) { // sealed since we saw it: its row is kept by who did that
        return;
    }
    if (p->rc == ERR_OK && p->scan.n == 0) {
        if (p->open && !p->locked) {
            empty_remove(r, p);
        }
        return;
    }
    enum err rc = p->rc;
    if (rc == ERR_OK) {
        rc = file_open(p->path, O_RDONLY, 0, &fd, &p->why);
    }
    if (rc == ERR_OK) {
        rc = headers_read(&f, fd, &mem, &p->why);
    }
    if (rc == ERR_OK) {
        rc = archive_tx(r->a, pack_work, &f, &p->why);
    }
    if (rc != ERR_OK) {
        fail(r, p->path, &p->why);
        return;
    }
    if (p->scan.damaged > 0) {
        tell(r, p->path, "damaged: images are missing");
    }
    r->stats->packs++;
    r->stats->images += p->scan.n;
}

/* ---- folders */

/* "<series>.<n>.tar" or "….tar.open" */
static bool name_parse(const char *name, struct found_pack *p)
{
    static const char *const ends[] = {".tar", ".tar.open"};
    size_t                   len = strlen(name);
    for (size_t i = 0; i < 2; i++) {
        size_t      cut = strlen(ends[i]);
        const char *dot;
        if (len <= cut || strcmp(name + len - cut, ends[i]) != 0 ||
            (dot = memrchr(name, '.', len - cut)) == NULL) {
            continue;
        }
        struct str uid = {name, (size_t)(dot - name)};
        struct str n = {dot + 1, len - cut - uid.len - 1};
        if (!is_uid_usable(uid) || !parse_u32(n, &p->n) || p->n == 0) {
            continue;
        }
        memcpy(p->series_uid, uid.ptr, uid.len);
        p->series_uid[uid.len] = '\0';
        p->open = i == 1;
        return true;
    }
    return false;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

struct names {
    struct dirent **v;
    int             n;
};

static void names_done(struct names *l)
{
    for (int i = 0; i < l->n; i++) {
        free(l->v[i]);
    }
    free(l->v);
}

/* In order; none when it is no folder. */
static enum err names_read(const char *path, struct names *ret, struct errmsg *e)
{
    struct names l = {0};
    l.n = scandir(path, &l.v, is_visible, by_name);
    if (l.n < 0) {
        l.n = 0;
        if (errno != ENOTDIR && errno != ENOENT) {
            return file_errno(e, "read folder", path);
        }
    }
    *ret = l;
    return ERR_OK;
}

/* In the order in which they were begun, which is that in which a study's images were filed. */
static int by_received(const void *pa, const void *pb)
{
    const struct found_pack *a = *(struct found_pack *const *)pa;
    const struct found_pack *b = *(struct found_pack *const *)pb;
    if (a->scan.origin.received_us != b->scan.origin.received_us) {
        return a->scan.origin.received_us < b->scan.origin.received_us ? -1 : 1;
    }
    return strcmp(a->path, b->path);
}

/* ---- rejected images: after the packs that they are in */

static enum err rejects_read(struct reindex *r, struct str study, struct str series,
                             const char *path, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     file;
    struct series_ids                ids = {0};
    struct uid_set                   now = {0};
    arena_init(&mem, LIMIT_OBJECT_LIST);
    buf_init(&file, LIMIT_REJECTED);
    enum err rc = file_read_all(path, &file, e);
    rc = rc == ERR_OK ? rejects_parse((struct bytes){file.ptr, file.len}, &mem, &now, e) : rc;
    struct db *db = rc == ERR_OK ? db_pool_take(r->a->db, e) : NULL;
    if (db == NULL) {
        return rc != ERR_OK ? rc : e->code;
    }
    rc = series_by_uid(db, r->tenant_id, study, series, &ids, e);
    db_pool_give(r->a->db, db);
    return rc == ERR_OK ? rejects_apply(r->a, ids.series_id, &now, e) : rc;
}

static void rejects_index(struct reindex *r, const char *folder, struct str study,
                          const struct names *l)
{
    static const char end[] = REJECT_SUFFIX;
    const size_t      cut = sizeof(end) - 1;
    for (int i = 0; i < l->n; i++) {
        char          path[PACK_PATH];
        struct errmsg why = {0};
        const char   *name = l->v[i]->d_name;
        size_t        len = strlen(name);
        if (len <= cut || strcmp(name + len - cut, end) != 0 ||
            snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path)) {
            continue;
        }
        if (rejects_read(r, study, (struct str){name, len - cut}, path, &why) != ERR_OK) {
            fail(r, path, &why);
        }
    }
}

static enum err study_index(struct reindex *r, const char *folder, const char *uid,
                            struct errmsg *e)
{
    CLEANUP(names_done) struct names l = {0};
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    enum err rc = names_read(folder, &l, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct found_pack **v = arena_array(&mem, (size_t)l.n + 1, struct found_pack *);
    size_t              n = 0;
    for (int i = 0; i < l.n; i++) {
        struct found_pack *p = v != NULL ? arena_new(&mem, struct found_pack) : NULL;
        if (p == NULL) {
            return err_set(e, ERR_LIMIT, "no memory for %d packs of a study", l.n);
        }
        int len = snprintf(p->path, sizeof(p->path), "%s/%s", folder, l.v[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof(p->path) || !name_parse(l.v[i]->d_name, p)) {
            continue;
        }
        (void)snprintf(p->study_uid, sizeof(p->study_uid), "%.64s", uid);
        pack_look(r, p, &mem);
        v[n++] = p;
    }
    if (n > 1) {
        qsort(v, n, sizeof(struct found_pack *), by_received);
    }
    for (size_t i = 0; i < n; i++) {
        pack_index(r, v[i]);
    }
    rejects_index(r, folder, str_of(uid), &l);
    return ERR_OK;
}

static enum err studies_index(struct reindex *r, const char *folder, struct errmsg *e)
{
    CLEANUP(names_done) struct names l = {0};
    enum err                         rc = names_read(folder, &l, e);
    for (int i = 0; rc == ERR_OK && i < l.n; i++) {
        char path[PACK_PATH];
        int  n = snprintf(path, sizeof(path), "%s/%s", folder, l.v[i]->d_name);
        if (n > 0 && (size_t)n < sizeof(path) && is_uid_usable(str_of(l.v[i]->d_name))) {
            rc = study_index(r, path, l.v[i]->d_name, e);
        }
    }
    return rc;
}

/* ---- quarantine */

static enum err add_work(struct db *db, void *arg, struct errmsg *e)
{
    return quarantine_add(db, arg, e);
}

/* "<sop>.<n>.dcm": all that its row says is in the file, its times and its name. */
static enum err shelve(struct reindex *r, const char *path, struct errmsg *e)
{
    CLEANUP(file_close) int          fd = -1;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, (size_t)LIMIT_DSET * 2);
    struct stat        st = {0};
    struct part10_meta meta = {0};
    uint8_t            front[LIMIT_PART10_HEAD];
    size_t             got = 0;
    enum err           rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc == ERR_OK && fstat(fd, &st) != 0) {
        rc = file_errno(e, "stat", path);
    }
    if (rc == ERR_OK) {
        rc = file_read_at(fd, 0, front, sizeof(front), &got, e);
    }
    if (rc == ERR_OK) {
        rc = part10_parse((struct bytes){front, got}, &meta, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    struct fd_window w = {.fd = fd, .at = meta.size, .len = (uint64_t)st.st_size - meta.size};
    struct dsrc      src = fd_window_src(&w);
    struct dset     *d = NULL;
    char             syntax[65];
    (void)snprintf(syntax, sizeof(syntax), "%.*s", STR_ARG(meta.syntax_uid));
    rc = header_read(&src, syntax, &mem, &d, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct quarantine_row row = {.tenant_id = r->tenant_id,
                                 .study_uid = dset_str(d, TAG(0x0020, 0x000D)),
                                 .series_uid = dset_str(d, TAG(0x0020, 0x000E)),
                                 .sop_uid = meta.sop_uid,
                                 .path = str_of(path + strlen(r->a->root) + 1),
                                 .calling = meta.source_aet,
                                 .received_us = (int64_t)st.st_mtim.tv_sec * 1000000 +
                                                st.st_mtim.tv_nsec / 1000,
                                 .bytes = (uint64_t)st.st_size};
    return archive_tx(r->a, add_work, &row, e);
}

static int path_order(const void *key, const void *row)
{
    return strcmp(key, ((const struct quarantine_row *)row)->path.ptr);
}

static int row_order(const void *a, const void *b)
{
    return strcmp(((const struct quarantine_row *)a)->path.ptr,
                  ((const struct quarantine_row *)b)->path.ptr);
}

static enum err shelf_read(struct reindex *r, struct arena *mem, struct quarantine_row **ret,
                           size_t *ret_n, struct errmsg *e)
{
    struct errmsg mine = {0};
    struct db    *db = db_pool_take(r->a->db, &mine);
    enum err      rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = quarantine_list(db, r->tenant_id, mem, ret, ret_n, &mine);
        db_pool_give(r->a->db, db);
    }
    if (rc == ERR_OK && *ret_n > 1) {
        qsort(*ret, *ret_n, sizeof(**ret), row_order);
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

static enum err unshelve_work(struct db *db, void *arg, struct errmsg *e)
{
    struct errmsg mine = {0};
    enum err      rc = quarantine_remove(db, *(const int64_t *)arg, &mine);
    return rc == ERR_OK || rc == ERR_NOTFOUND ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

/* A row whose file is gone goes as well. */
static enum err shelf_check(struct reindex *r, struct quarantine_row *row, struct errmsg *e)
{
    char path[PACK_PATH];
    int  n = snprintf(path, sizeof(path), "%s/%s", r->a->root, row->path.ptr);
    if (n < 0 || (size_t)n >= sizeof(path) || access(path, F_OK) == 0 || errno != ENOENT) {
        return ERR_OK;
    }
    tell(r, path, "no such quarantined image: its row is removed");
    return archive_tx(r->a, unshelve_work, &row->id, e);
}

static bool is_dcm(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".dcm") == 0;
}

static enum err quarantine_index(struct reindex *r, const char *folder, struct errmsg *e)
{
    CLEANUP(names_done) struct names l = {0};
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct quarantine_row *have = NULL;
    size_t                 n = 0;
    enum err               rc = names_read(folder, &l, e);
    if (rc == ERR_OK) {
        rc = shelf_read(r, &mem, &have, &n, e);
    }
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        rc = shelf_check(r, &have[i], e);
    }
    for (int i = 0; rc == ERR_OK && i < l.n; i++) {
        char path[PACK_PATH];
        int  len = snprintf(path, sizeof(path), "%s/%s", folder, l.v[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof(path) || !is_dcm(l.v[i]->d_name) ||
            (n > 0 && bsearch(path + strlen(r->a->root) + 1, have, n, sizeof(*have), path_order))) {
            continue;
        }
        struct errmsg why = {0};
        if (shelve(r, path, &why) != ERR_OK) {
            fail(r, path, &why);
        }
    }
    return rc;
}

/* ---- the whole */

static bool is_hex2(const char *name)
{
    uint64_t n;
    return strlen(name) == 2 && parse_u64_base(str_of(name), 16, &n);
}

static enum err tenant_index(struct reindex *r, const char *folder, struct errmsg *e)
{
    CLEANUP(names_done) struct names l = {0};
    enum err                         rc = names_read(folder, &l, e);
    for (int i = 0; rc == ERR_OK && i < l.n; i++) {
        char path[PACK_PATH];
        int  n = snprintf(path, sizeof(path), "%s/%s", folder, l.v[i]->d_name);
        if (n < 0 || (size_t)n >= sizeof(path)) {
            continue;
        }
        if (is_hex2(l.v[i]->d_name)) {
            rc = studies_index(r, path, e);
        }
    }
    char shelf[PACK_PATH];
    (void)snprintf(shelf, sizeof(shelf), "%.480s/quarantine", folder);
    return rc == ERR_OK ? quarantine_index(r, shelf, e) : rc; // its rows, when there is no folder
}

static enum err tenants_index(struct reindex *r, struct errmsg *e)
{
    CLEANUP(names_done) struct names l = {0};
    enum err                         rc = names_read(r->a->root, &l, e);
    for (int i = 0; rc == ERR_OK && i < l.n; i++) {
        const char *code = l.v[i]->d_name;
        char        path[PACK_PATH + 64];
        if (!is_tenant_code(str_of(code))) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/%.32s", r->a->root, code);
        (void)snprintf(r->tenant, sizeof(r->tenant), "%.32s", code);
        struct errmsg why = {0};
        rc = folder_tenant(r, str_of(r->tenant), &why);
        if (rc == ERR_EXISTS || rc == ERR_SYNTAX) {
            fail(r, path, &why);
            rc = ERR_OK;
        } else if (rc != ERR_OK) {
            (void)err_set(e, rc, "%s", why.text);
        } else {
            rc = tenant_index(r, path, e);
        }
    }
    return rc;
}

/* ---- rows of packs that are gone, and digests */

static bool is_file(const struct archive *a, const struct pack_row *row, bool open)
{
    char path[PACK_PATH];
    return row_path(a, row, open, path, NULL) == ERR_OK && access(path, F_OK) == 0;
}

/* Looked for as open first: a pack is sealed at any moment, never opened again. */
static bool has_file(const struct archive *a, const struct pack_row *row)
{
    return (row->state == PACK_OPEN && is_file(a, row, true)) || is_file(a, row, false);
}

static enum err gone_work(struct db *db, void *arg, struct errmsg *e)
{
    struct errmsg mine = {0};
    enum err      rc = pack_row_remove(db, *(const int64_t *)arg, &mine);
    return rc == ERR_OK || rc == ERR_NOTFOUND ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

static enum err digest_work(struct db *db, void *arg, struct errmsg *e)
{
    return pack_row_seal(db, arg, e);
}

static enum err row_forget(struct reindex *r, struct pack_row *row, const char *path,
                           struct errmsg *e)
{
    if (has_file(r->a, row)) {
        return ERR_OK;
    }
    tell(r, path, "no such pack: its row is removed");
    return archive_tx(r->a, gone_work, &row->id, e);
}

static enum err row_digest(struct reindex *r, struct pack_row *row, const char *path,
                           struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_HEAD_VALUE);
    if (row->state != PACK_SEALED || row->sha256.len > 0) {
        return ERR_OK;
    }
    enum err rc = file_sha256(path, &mem, &row->sha256, e);
    return rc == ERR_OK ? archive_tx(r->a, digest_work, row, e) : rc;
}

typedef enum err row_fn(struct reindex *r, struct pack_row *row, const char *path,
                        struct errmsg *e);

/* Failures of one row are told, and the others go on. */
static enum err rows_each(struct reindex *r, row_fn *fn, struct errmsg *e)
{
    enum { AT_ONCE = 500 };

    int64_t after = 0;
    size_t  n = AT_ONCE;
    while (n == AT_ONCE) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, LIMIT_SCAN);
        struct pack_row *rows = NULL;
        struct errmsg    mine = {0};
        struct db       *db = db_pool_take(r->a->db, &mine);
        enum err         rc = mine.code != ERR_OK ? mine.code : ERR_IO;
        if (db != NULL) {
            rc = pack_rows_after(db, &(struct pack_page){.after = after, .max = AT_ONCE}, &mem,
                                 &rows, &n, &mine);
            db_pool_give(r->a->db, db);
        }
        if (rc != ERR_OK) {
            return err_set(e, rc, "%s", mine.text);
        }
        for (size_t i = 0; i < n; i++) {
            char          path[PACK_PATH] = "";
            struct errmsg why = {0};
            rc = row_path(r->a, &rows[i], rows[i].state == PACK_OPEN, path, &why);
            if (rc == ERR_OK) {
                rc = fn(r, &rows[i], path, &why);
            }
            if (rc != ERR_OK) {
                fail(r, path, &why);
            }
            after = rows[i].id;
        }
    }
    return ERR_OK;
}

enum err archive_reindex(struct archive *a, archive_note *note, void *ctx,
                         struct reindex_stats *ret, struct errmsg *e)
{
    struct reindex_stats stats = {0};
    struct reindex       r = {.a = a, .note = note, .ctx = ctx, .stats = &stats};
    enum err             rc = registry_load(&r, e);
    if (rc == ERR_OK) {
        rc = rows_each(&r, row_forget, e);
    }
    if (rc == ERR_OK) {
        rc = tenants_index(&r, e);
    }
    if (rc == ERR_OK) { // last: it reads whole files, and everything is found without it
        rc = rows_each(&r, row_digest, e);
    }
    *ret = stats;
    return rc;
}
