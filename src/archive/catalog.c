#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "archive/archive_priv.h"
#include "sys/file.h"

/*
 * Manifests as lists of images, the least recently used dropped when all together hold more than
 * LIMIT_CATALOG_BYTES.  A sealed pack never changes, so an entry never grows old; its key is the
 * path.  An entry in use outlives being dropped.
 */
enum { BUCKETS = 1024 };

struct entry {
    struct entry  *next;          // in its bucket
    struct entry  *newer, *older; // by use
    unsigned       refs;          // users, and the cache itself
    size_t         bytes;
    char          *path;
    struct catalog c; // last: its images follow
};

struct cache {
    struct lock   lock;
    struct entry *buckets[BUCKETS];
    struct entry *newest, *oldest;
    size_t        bytes;
};

enum err cache_new(struct cache **ret, struct errmsg *e)
{
    struct cache *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the manifest cache");
    }
    lock_init(&c->lock, LOCK_PACK);
    *ret = c;
    return ERR_OK;
}

static void entry_unref(struct entry *n)
{
    if (--n->refs == 0) {
        free(n->path);
        free(n);
    }
}

static struct entry **place_of(struct cache *c, const char *path)
{
    uint64_t h = 14695981039346656037U;
    for (const char *p = path; *p != '\0'; p++) {
        h = (h ^ (uint8_t)*p) * 1099511628211U;
    }
    struct entry **at = &c->buckets[(h ^ h >> 32) % BUCKETS];
    while (*at != NULL && strcmp((*at)->path, path) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void use_unlink(struct cache *c, struct entry *n)
{
    *(n->newer != NULL ? &n->newer->older : &c->newest) = n->older;
    *(n->older != NULL ? &n->older->newer : &c->oldest) = n->newer;
}

static void use_first(struct cache *c, struct entry *n)
{
    n->newer = NULL;
    n->older = c->newest;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = n;
    c->newest = n;
}

/* The oldest; false when there is none. */
static bool drop(struct cache *c)
{
    struct entry *n = c->oldest;
    if (n == NULL) {
        return false;
    }
    *place_of(c, n->path) = n->next;
    use_unlink(c, n);
    c->bytes -= n->bytes;
    entry_unref(n);
    return true;
}

void cache_free(struct cache *c)
{
    if (c == NULL) {
        return;
    }
    while (drop(c)) {
    }
    lock_done(&c->lock);
    free(c);
}

static struct entry *cached(struct cache *c, const char *path)
{
    lock_take(&c->lock);
    struct entry *n = *place_of(c, path);
    if (n != NULL) {
        n->refs++;
        use_unlink(c, n);
        use_first(c, n);
    }
    lock_give(&c->lock);
    return n;
}

/* n, or what another thread put there meanwhile. */
static struct entry *insert(struct cache *c, struct entry *n)
{
    lock_take(&c->lock);
    struct entry **at = place_of(c, n->path);
    if (*at != NULL) {
        struct entry *other = *at;
        other->refs++;
        entry_unref(n);
        lock_give(&c->lock);
        return other;
    }
    if (n->bytes <= LIMIT_CATALOG_BYTES / 4) { // a giant is read again rather than all else
        n->refs++;
        n->next = NULL;
        *at = n;
        use_first(c, n);
        c->bytes += n->bytes;
        while (c->bytes > LIMIT_CATALOG_BYTES && drop(c)) {
        }
    }
    lock_give(&c->lock);
    return n; // NOLINT(clang-analyzer-unix.Malloc): the caller's reference keeps it, dropped or not
}

static struct entry *entry_new(const char *path, size_t n)
{
    struct entry *x = NULL;
    size_t        bytes = 0;
    if (!__builtin_mul_overflow(n, sizeof(struct pack_image), &bytes)) {
        x = calloc(1, sizeof(*x) + bytes);
    }
    char *p = x != NULL ? strdup(path) : NULL;
    if (p == NULL) {
        free(x);
        return NULL;
    }
    x->refs = 1;
    x->path = p;
    x->bytes = sizeof(*x) + bytes + strlen(p);
    x->c.n = n;
    return x;
}

enum err manifest_of(const char *path, const struct pack_row *row, struct arena *mem,
                     struct manifest **ret, struct errmsg *e)
{
    if (row->manifest_len > LIMIT_MANIFEST) {
        return err_set(e, ERR_LIMIT, "%s: a manifest of %llu bytes", path,
                       (unsigned long long)row->manifest_len);
    }
    size_t                       len = (size_t)row->manifest_len;
    CLEANUP(file_close) int      fd = -1;
    CLEANUP(buf_done) struct buf json;
    buf_init(&json, LIMIT_MANIFEST);
    arena_init(mem, len * 8 + (1 << 20)); // as structs it is no more than some times as large
    enum err rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    uint8_t *to = buf_grow(&json, len);
    if (to == NULL) {
        return err_set(e, ERR_NOMEM, "%s: no memory for its manifest", path);
    }
    rc = file_read_full(fd, row->manifest_at, to, len, e);
    if (rc == ERR_OK) {
        rc = manifest_parse((struct str){(const char *)to, len}, mem, ret, e);
    }
    if (rc != ERR_OK) {
        err_context(e, "%s", path);
    }
    return rc;
}

static enum err read_manifest(const char *path, const struct pack_row *row, struct entry **ret,
                              struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem = {0};
    struct manifest                 *m = NULL;
    enum err                         rc = manifest_of(path, row, &mem, &m, e);
    if (rc != ERR_OK || m == NULL) {
        return rc;
    }
    struct entry *n = entry_new(path, m->n);
    if (n == NULL) {
        return err_set(e, ERR_NOMEM, "%s: no memory for its images", path);
    }
    for (size_t i = 0; i < m->n; i++) {
        n->c.images[i] = m->images[i].image;
    }
    *ret = n;
    return ERR_OK;
}

/* A row that does not know where its manifest is: the headers of the file do. */
static enum err read_headers(struct archive *a, const char *path, const struct pack_row *row,
                             struct entry **ret, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_scan scan = {0};
    enum err         rc = row_scan(a, row, false, &mem, &scan, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct entry *n = entry_new(path, scan.n);
    if (n == NULL) {
        return err_set(e, ERR_NOMEM, "%s: no memory for its images", path);
    }
    if (scan.n > 0) {
        memcpy(n->c.images, scan.images, scan.n * sizeof(*scan.images));
    }
    *ret = n;
    return ERR_OK;
}

enum err catalog_of(struct archive *a, const struct pack_row *row, struct catalog **ret,
                    struct errmsg *e)
{
    char     path[PACK_PATH];
    enum err rc = row_path(a, row, false, path, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct entry *n = cached(a->cache, path);
    if (n == NULL) {
        rc = row->manifest_len > 0 ? read_manifest(path, row, &n, e)
                                   : read_headers(a, path, row, &n, e);
        if (rc != ERR_OK) {
            return rc;
        }
        n = insert(a->cache, n);
    }
    *ret = &n->c;
    return ERR_OK;
}

void catalog_unref(struct archive *a, struct catalog *c)
{
    struct entry *n = (struct entry *)((char *)c - offsetof(struct entry, c));
    lock_take(&a->cache->lock);
    entry_unref(n);
    lock_give(&a->cache->lock);
}

enum err row_path(const struct archive *a, const struct pack_row *row, bool open,
                  char ret[PACK_PATH], struct errmsg *e)
{
    struct pack_origin o = {.tenant = row->tenant_code,
                            .study_uid = row->study_uid,
                            .series_uid = row->series_uid,
                            .n = row->n};
    return pack_path(ret, a->root, &o, open, e);
}

enum err row_scan(struct archive *a, const struct pack_row *row, bool check_hash, struct arena *mem,
                  struct pack_scan *ret, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    char                    path[PACK_PATH];
    struct errmsg           mine = {0};
    enum err                rc = ERR_NOTFOUND;
    // an open pack may be sealed at any moment, never the other way round
    for (int open = row->state == PACK_OPEN; rc == ERR_NOTFOUND && open >= 0; open--) {
        mine = (struct errmsg){0};
        rc = row_path(a, row, open == 1, path, &mine);
        if (rc == ERR_OK) {
            rc = file_open(path, O_RDONLY, 0, &fd, &mine);
        }
    }
    if (rc == ERR_OK) {
        rc = pack_scan_fd(fd, check_hash, mem, ret, &mine);
        err_context(&mine, "%s", path);
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}
