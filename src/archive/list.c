#include <fcntl.h>
#include <stdlib.h>

#include "archive/archive_priv.h"
#include "sys/file.h"

/* One image of the answer, before it is put in order. */
struct found {
    struct pack_image      image;
    const struct pack_row *row;
    bool                   open;
    size_t                 rank; // of arrival
};

struct listing {
    struct archive *a;
    struct arena   *mem;
    struct series  *live; // NULL: it has no pack of this process
    struct imgset   seen; // what is in v, when there is more than one pack
    struct uid_set  rejected;
    bool            several;
    struct found  **v; // growing array of the arena's
    size_t          n, room;
};

static enum err found_add(struct listing *l, const struct pack_image *p, const struct pack_row *row,
                          bool open, struct errmsg *e)
{
    if (uid_set_has(&l->rejected, str_of(p->sop_uid))) {
        return ERR_OK;
    }
    if (l->several) {
        if (imgset_find(&l->seen, str_of(p->sop_uid)) != NULL) {
            return ERR_OK;
        }
        enum err rc = imgset_add(&l->seen, row->n, p, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    if (l->n == l->room) {
        size_t         room = l->room == 0 ? 256 : l->room * 2;
        struct found **v = arena_array(l->mem, room, struct found *);
        if (v == NULL) {
            return err_set(e, ERR_LIMIT, "a series of more than %zu images", l->n);
        }
        if (l->n > 0) {
            memcpy(v, l->v, l->n * sizeof(struct found *));
        }
        l->v = v;
        l->room = room;
    }
    struct found *f = arena_new(l->mem, struct found);
    if (f == NULL) {
        return err_set(e, ERR_LIMIT, "a series of more than %zu images", l->n);
    }
    *f = (struct found){.image = *p, .row = row, .open = open, .rank = l->n};
    l->v[l->n++] = f;
    return ERR_OK;
}

/* From memory; ERR_NOTFOUND when the pack is not one of this process. */
static enum err list_ours(struct listing *l, const struct pack_row *row, struct errmsg *e)
{
    if (l->live == NULL) {
        return ERR_NOTFOUND;
    }
    struct series *s = l->live;
    lock_take(&s->lock);
    struct slot *sl = s->slots;
    while (sl != NULL && sl->n != row->n) {
        sl = sl->next;
    }
    enum err rc = sl != NULL ? ERR_OK : ERR_NOTFOUND;
    for (size_t i = 0; rc == ERR_OK && i < s->images.n; i++) {
        const struct img *m = &s->images.v[i];
        if (m->pack_n == row->n && m->state == IMG_PRESENT) {
            struct pack_image p;
            img_get(&s->images, m, &p);
            rc = found_add(l, &p, row, true, e);
        }
    }
    lock_give(&s->lock);
    return rc;
}

static enum err list_sealed(struct listing *l, const struct pack_row *row, struct errmsg *e)
{
    struct catalog *c = NULL;
    enum err        rc = catalog_of(l->a, row, &c, e);
    if (rc != ERR_OK) {
        return rc;
    }
    for (size_t i = 0; rc == ERR_OK && i < c->n; i++) {
        rc = found_add(l, &c->images[i], row, false, e);
    }
    catalog_unref(l->a, c);
    return rc;
}

static enum err list_others(struct listing *l, const struct pack_row *row, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_scan scan = {0};
    struct errmsg    mine = {0};
    enum err         rc = row_scan(l->a, row, false, &mem, &scan, &mine);
    if (rc == ERR_NOTFOUND) { // an empty one, cleared away since the row was read
        return ERR_OK;
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", mine.text);
    }
    for (size_t i = 0; rc == ERR_OK && i < scan.n; i++) {
        rc = found_add(l, &scan.images[i], row, true, e);
    }
    return rc;
}

static enum err list_row(struct listing *l, const struct pack_row *row, struct errmsg *e)
{
    if (row->state == PACK_SEALED) {
        return list_sealed(l, row, e);
    }
    enum err rc = list_ours(l, row, e);
    return rc == ERR_NOTFOUND ? list_others(l, row, e) : rc;
}

static int64_t order_of(const struct found *f)
{
    return f->image.number == INT32_MIN ? INT64_MAX : f->image.number; // without a number: last
}

static int by_number(const void *pa, const void *pb)
{
    const struct found *a = *(struct found *const *)pa, *b = *(struct found *const *)pb;
    int64_t             x = order_of(a), y = order_of(b);
    if (x != y) {
        return x < y ? -1 : 1;
    }
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static enum err listing_end(struct listing *l, struct object **ret, size_t *ret_n, struct errmsg *e)
{
    struct object *o = arena_array(l->mem, l->n == 0 ? 1 : l->n, struct object);
    if (o == NULL) {
        return err_set(e, ERR_LIMIT, "a series of %zu images", l->n);
    }
    if (l->n > 0) {
        qsort(l->v, l->n, sizeof(struct found *), by_number);
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct found *f = l->v[i];
        o[i].image = f->image;
        o[i].open = f->open;
        enum err rc = row_path(l->a, f->row, f->open, o[i].path, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    *ret = o;
    *ret_n = l->n;
    return ERR_OK;
}

static enum err rows_of(struct listing *l, int64_t series_id, struct pack_row **ret, size_t *ret_n,
                        struct errmsg *e)
{
    struct errmsg mine = {0};
    struct db    *db = db_pool_take(l->a->db, &mine);
    enum err      rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = pack_rows_of_series(db, series_id, l->mem, ret, ret_n, &mine);
        if (rc == ERR_OK && *ret_n > 0 && (*ret)[0].rejected > 0) {
            rc = rejects_get(db, series_id, l->mem, &l->rejected, &mine);
        }
        db_pool_give(l->a->db, db);
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

enum err archive_list(struct archive *a, int64_t series_id, struct arena *mem, struct object **ret,
                      size_t *ret_n, struct errmsg *e)
{
    struct pack_row *rows = NULL;
    size_t           n = 0;
    struct listing   l = {.a = a, .mem = mem};
    enum err         rc = rows_of(&l, series_id, &rows, &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    l.several = n > 1;
    imgset_init(&l.seen);
    if (n > 0) {
        struct series_key k = {.tenant_id = rows[0].tenant_id,
                               .tenant = rows[0].tenant_code,
                               .study_uid = rows[0].study_uid,
                               .series_uid = rows[0].series_uid};
        l.live = series_peek(a, &k);
    }
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        rc = list_row(&l, &rows[i], e);
    }
    if (rc == ERR_OK) {
        rc = listing_end(&l, ret, ret_n, e);
    }
    imgset_done(&l.seen);
    if (l.live != NULL) {
        series_unref(a, l.live);
    }
    return rc;
}

/* ---- opening */

static enum err window_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                            struct errmsg *e)
{
    const struct fd_window *w = ctx;
    uint64_t                left = at < w->len ? w->len - at : 0;
    return file_read_at(w->fd, w->at + at, to, left < n ? (size_t)left : n, ret_n, e);
}

struct dsrc fd_window_src(struct fd_window *w)
{
    return (struct dsrc){.read = window_read, .ctx = w, .size = w->len};
}

static enum err object_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                            struct errmsg *e)
{
    const struct object_file *f = ctx;
    struct fd_window          w = {.fd = f->fd, .at = f->data_at, .len = f->data_len};
    return window_read(&w, at, to, n, ret_n, e);
}

bool is_image_there(int fd, const struct pack_image *p)
{
    uint8_t           block[TAR_BLOCK];
    struct tar_member m;
    size_t            n = strlen(p->sop_uid);
    return p->at >= TAR_BLOCK &&
           file_read_full(fd, p->at - TAR_BLOCK, block, sizeof(block), NULL) == ERR_OK &&
           tar_header_parse(block, &m, NULL) == ERR_OK && m.size == p->size &&
           strncmp(m.name, p->sop_uid, n) == 0 && strcmp(m.name + n, ".dcm") == 0;
}

/* Where it lies now. */
static enum err look_again(int fd, struct pack_image *p, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    struct pack_scan                 scan;
    arena_init(&mem, LIMIT_SCAN);
    enum err rc = pack_scan_fd(fd, false, &mem, &scan, e);
    for (size_t i = 0; rc == ERR_OK && i < scan.n; i++) {
        if (strcmp(scan.images[i].sop_uid, p->sop_uid) == 0) {
            *p = scan.images[i];
            return ERR_OK;
        }
    }
    return rc != ERR_OK ? rc : err_set(e, ERR_NOTFOUND, "image %s is gone", p->sop_uid);
}

enum err object_open(struct archive *a, const struct object *o, struct object_file *ret,
                     struct errmsg *e)
{
    (void)a;
    static const char suffix[] = ".open";
    const size_t      cut = sizeof(suffix) - 1;
    int               fd = -1;
    struct errmsg     mine = {0};
    struct pack_image now = o->image, *p = &now;
    if (p->data_at < p->at || p->data_at - p->at > p->size) {
        return err_set(e, ERR_SYNTAX, "%s: image %s lies nowhere", o->path, p->sop_uid);
    }
    enum err rc = file_open(o->path, O_RDONLY, 0, &fd, &mine);
    size_t   len = strlen(o->path);
    if (rc == ERR_NOTFOUND && len > cut && strcmp(o->path + len - cut, suffix) == 0) {
        char sealed[PACK_PATH];
        memcpy(sealed, o->path, len - cut);
        sealed[len - cut] = '\0';
        mine = (struct errmsg){0};
        rc = file_open(sealed, O_RDONLY, 0, &fd, &mine);
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", mine.text);
    }
    if (!is_image_there(fd, p)) {
        rc = look_again(fd, p, e);
        if (rc != ERR_OK) {
            file_close(&fd);
            return rc;
        }
    }
    *ret = (struct object_file){.fd = fd,
                                .image = now,
                                .at = p->at,
                                .size = p->size,
                                .data_at = p->data_at,
                                .data_len = p->size - (p->data_at - p->at)};
    ret->src = (struct dsrc){.read = object_read, .ctx = ret, .size = ret->data_len};
    return ERR_OK;
}

void object_close(struct object_file *f)
{
    file_close(&f->fd);
}
