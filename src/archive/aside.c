#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/ingest_priv.h"
#include "base/clock.h"
#include "dicom/part10.h"
#include "sys/file.h"

enum {
    CHUNK = 16 << 10,       // on the stack of a worker
    QUARANTINE_MODE = 0640, // as packs
    FRONT = 8 << 10,        // of a file of our own making: its meta information fits
};

/* ---- comparing and copying */

/* *ret_same: n bytes at `at` of src are those of piece. */
static enum err is_same(const struct dsrc *src, uint64_t at, struct bytes piece, bool *ret_same,
                        struct errmsg *e)
{
    uint8_t chunk[CHUNK];
    while (piece.len > 0) {
        size_t   want = piece.len < sizeof(chunk) ? piece.len : sizeof(chunk), got = 0;
        enum err rc = src->read(src->ctx, at, chunk, want, &got, e);
        if (rc != ERR_OK) {
            return rc;
        }
        if (got < want || memcmp(chunk, piece.ptr, want) != 0) {
            *ret_same = false;
            return ERR_OK;
        }
        at += want;
        piece = (struct bytes){piece.ptr + want, piece.len - want};
    }
    *ret_same = true;
    return ERR_OK;
}

static enum err is_same_src(const struct dsrc *a, const struct dsrc *b, bool *ret_same,
                            struct errmsg *e)
{
    uint8_t  chunk[CHUNK];
    uint64_t at = 0;
    *ret_same = a->size == b->size;
    while (*ret_same && at < a->size) {
        size_t   got = 0;
        enum err rc = a->read(a->ctx, at, chunk, sizeof(chunk), &got, e);
        if (rc == ERR_OK && got == 0) {
            rc = err_set(e, ERR_IO, "object ends at %" PRIu64, at);
        }
        if (rc == ERR_OK) {
            rc = is_same(b, at, (struct bytes){chunk, got}, ret_same, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
        at += got;
    }
    return ERR_OK;
}

/* ---- the file aside */

static enum err folder_of(const struct ingest *i, char ret[PACK_PATH], struct errmsg *e)
{
    int n = snprintf(ret, PACK_PATH, "%s/%.*s/quarantine", i->a->root, STR_ARG(i->from.tenant));
    return n > 0 && n < PACK_PATH - (LIMIT_UID + 64)
               ? ERR_OK
               : err_set(e, ERR_LIMIT, "quarantine: a path of %d bytes", n);
}

static enum err front_write(struct ingest *i, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf head;
    buf_init(&head, LIMIT_PART10_HEAD);
    struct bytes front;
    enum err     rc = head_part10(i, &head, e);
    if (rc == ERR_OK && buf_end(&head, &front) != ERR_OK) {
        rc = err_set(e, ERR_NOMEM, "no memory for meta information");
    }
    if (rc == ERR_OK) {
        rc = file_write_at(i->aside.fd, 0, front, e);
        i->aside.data_at = front.len;
    }
    return rc;
}

/* Open the file, and write down what came so far: the first n bytes of src. */
static enum err file_begin(struct ingest *i, const struct dsrc *src, uint64_t n, struct errmsg *e)
{
    static _Atomic uint64_t serial;
    struct aside           *s = &i->aside;
    char                    dir[PACK_PATH];
    enum err                rc = folder_of(i, dir, e);
    if (rc == ERR_OK) {
        rc = file_make_dirs(dir, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    (void)snprintf(s->path, sizeof(s->path), "%.400s/.%s.%d.%" PRIu64 ".part", dir, i->sop_uid,
                   (int)getpid(), atomic_fetch_add(&serial, 1));
    rc = file_open(s->path, O_RDWR | O_CREAT | O_EXCL, QUARANTINE_MODE, &s->fd, e);
    if (rc == ERR_OK) {
        rc = front_write(i, e);
    }
    uint8_t chunk[CHUNK];
    for (uint64_t at = 0; rc == ERR_OK && at < n;) {
        size_t want = n - at < sizeof(chunk) ? (size_t)(n - at) : sizeof(chunk), got = 0;
        rc = src->read(src->ctx, at, chunk, want, &got, e);
        if (rc == ERR_OK && got == 0) {
            rc = err_set(e, ERR_IO, "object ends at %" PRIu64, at);
        }
        if (rc == ERR_OK) {
            rc = file_write_at(s->fd, s->data_at + at, (struct bytes){chunk, got}, e);
            at += got;
        }
    }
    return rc;
}

/* True: it can be compared as it lies.  Else s->twin tells whether by what it was.  A stored image
 * that cannot be opened any more is no reason to lose this one. */
static bool open_stored(struct ingest *i, const struct object *stored)
{
    struct aside *s = &i->aside;
    s->opened = object_open(i->a, stored, &s->stored, NULL) == ERR_OK;
    if (!s->opened || strcmp(s->stored.image.syntax_uid, i->syntax_uid) == 0) {
        return s->opened;
    }
    s->twin = original_of(&s->stored, &s->original, NULL) == ERR_OK &&
              strcmp(s->original.syntax_uid, i->syntax_uid) == 0 &&
              digest_init(&s->digest, NULL) == ERR_OK;
    object_close(&s->stored);
    s->opened = false;
    return false;
}

static enum err is_twin(struct aside *s, bool *ret, struct errmsg *e)
{
    char     sha256[65];
    enum err rc = digest_end(&s->digest, sha256, NULL, e);
    *ret = rc == ERR_OK && s->len == s->original.size && strcmp(sha256, s->original.sha256) == 0;
    return rc;
}

enum err aside_begin(struct ingest *i, const struct object *stored, struct errmsg *e)
{
    return open_stored(i, stored) ? ERR_OK : file_begin(i, NULL, 0, e);
}

enum err aside_add(struct ingest *i, struct bytes piece, struct errmsg *e)
{
    struct aside *s = &i->aside;
    enum err      rc = ERR_OK;
    if (s->fd < 0) {
        bool same = false;
        rc = is_same(&s->stored.src, s->len, piece, &same, e);
        if (rc == ERR_OK && same) {
            s->len += piece.len;
            return ERR_OK;
        }
        if (rc == ERR_OK) {
            rc = file_begin(i, &s->stored.src, s->len, e);
        }
    }
    if (s->twin) {
        digest_add(&s->digest, piece);
    }
    if (rc == ERR_OK) {
        rc = file_write_at(s->fd, s->data_at + s->len, piece, e);
        s->len += piece.len;
    }
    return rc;
}

/* ---- into quarantine */

/* Is that quarantined file what we have in hand?  A peer that sends the same conflict again and
 * again must not fill the disk. */
static enum err is_kept(const struct aside *s, const char *path, bool *ret, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    uint8_t                 front[FRONT];
    struct stat             st;
    size_t                  got = 0;
    enum err                rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc == ERR_OK && fstat(fd, &st) != 0) {
        rc = file_errno(e, "stat", path);
    }
    if (rc == ERR_OK) {
        rc = file_read_at(fd, 0, front, sizeof(front), &got, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    *ret = false;
    struct part10_meta m;
    if (part10_parse((struct bytes){front, got}, &m, NULL) != ERR_OK ||
        m.size > (uint64_t)st.st_size) {
        return ERR_OK;
    }
    struct fd_window there = {.fd = fd, .at = m.size, .len = (uint64_t)st.st_size - m.size};
    struct fd_window here = {.fd = s->fd, .at = s->data_at, .len = s->len};
    struct dsrc      a = fd_window_src(&there), b = fd_window_src(&here);
    return is_same_src(&a, &b, ret, e);
}

static enum err row_work(struct db *db, void *arg, struct errmsg *e)
{
    return quarantine_add(db, arg, e);
}

static enum err row_add(struct ingest *i, const char *path, struct errmsg *e)
{
    size_t                root = strlen(i->a->root) + 1;
    struct quarantine_row row = {.tenant_id = i->from.tenant_id,
                                 .study_uid = str_of(i->head.study_uid),
                                 .series_uid = str_of(i->head.series_uid),
                                 .sop_uid = str_of(i->sop_uid),
                                 .path = str_of(path + root),
                                 .calling = i->from.calling,
                                 .received_us = i->received_us,
                                 .bytes = i->aside.data_at + i->aside.len};
    return archive_tx(i->a, row_work, &row, e);
}

/* Durable under the next free number; *ret_new false: it was there already.  On failure there may
 * be a new one nevertheless. */
static enum err file_end(struct ingest *i, char path[PACK_PATH], bool *ret_new, struct errmsg *e)
{
    struct aside         *s = &i->aside;
    char                  dir[PACK_PATH];
    struct timespec       when = {.tv_sec = i->received_us / 1000000,
                                  .tv_nsec = i->received_us % 1000000 * 1000};
    const struct timespec both[2] = {when, when};
    enum err              rc = folder_of(i, dir, e);
    if (rc == ERR_OK && futimens(s->fd, both) != 0) { // the index is rebuilt with that time
        rc = file_errno(e, "set time of", s->path);
    }
    if (rc == ERR_OK) {
        rc = file_sync(s->fd, e);
    }
    for (unsigned n = 1; rc == ERR_OK; n++) {
        (void)snprintf(path, PACK_PATH, "%.400s/%s.%u.dcm", dir, i->sop_uid, n);
        if (link(s->path, path) == 0) { // never over another one
            *ret_new = true;
            return file_sync_dir_of(path, e);
        }
        if (errno != EEXIST) {
            return file_errno(e, "link", path);
        }
        bool          kept = false;
        struct errmsg mine = {0};
        rc = is_kept(s, path, &kept, &mine);
        if (rc == ERR_OK && kept) {
            *ret_new = false;
            return ERR_OK;
        }
        if (rc == ERR_NOTFOUND) { // cleared away meanwhile: that number is free
            rc = ERR_OK;
            n--;
        } else if (rc != ERR_OK) {
            (void)err_set(e, rc, "%s", mine.text);
        }
    }
    return rc;
}

enum err aside_commit(struct ingest *i, enum ingest_outcome *ret, struct errmsg *e)
{
    struct aside *s = &i->aside;
    if (s->fd < 0 && s->len == s->stored.data_len) {
        *ret = INGEST_DUPLICATE;
        return ERR_OK;
    }
    bool     same = false;
    enum err rc = s->twin ? is_twin(s, &same, e) : ERR_OK;
    if (rc == ERR_OK && same) { // as it was received the first time
        *ret = INGEST_DUPLICATE;
        return ERR_OK;
    }
    if (rc == ERR_OK && s->fd < 0) {
        rc = file_begin(i, &s->stored.src, s->len, e);
    }
    char path[PACK_PATH];
    bool is_new = false;
    if (rc == ERR_OK) {
        rc = file_end(i, path, &is_new, e);
    }
    if (rc == ERR_OK) { // also when it was there: a crash may have kept it from getting its row
        rc = row_add(i, path, e);
    }
    if (rc == ERR_OK) {
        *ret = INGEST_QUARANTINED;
    } else if (is_new) {
        (void)unlink(path); // it was not accepted, and nobody would look for it
    }
    return rc;
}

void aside_abort(struct aside *s)
{
    if (s->fd >= 0) {
        (void)unlink(s->path);
        file_close(&s->fd);
    }
    if (s->twin) {
        digest_done(&s->digest);
        s->twin = false;
    }
    if (s->opened) {
        object_close(&s->stored);
        s->opened = false;
    }
}

/* ---- after a crash */

void parts_clear(struct archive *a)
{
    char   pattern[PACK_PATH + 64];
    glob_t g = {0};
    time_t old = (time_t)(clock_wall_us() / 1000000) - LIMIT_PART_AGE_S;
    (void)snprintf(pattern, sizeof(pattern), "%s/*/quarantine/.*.part", a->root);
    // what is not safe in it is "~"
    if (glob(pattern, GLOB_NOSORT, NULL, &g) != 0) { // NOLINT(concurrency-mt-unsafe)
        return;
    }
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct stat st;
        // a young one may be in the hands of another process
        if (stat(g.gl_pathv[i], &st) == 0 && st.st_mtime < old) {
            (void)unlink(g.gl_pathv[i]);
        }
    }
    globfree(&g);
}

/* ---- lost a race */

static enum err tail_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                          struct errmsg *e)
{
    const struct ingest *i = ctx;
    return pack_image_read(i->slot->pack, at, to, n, ret_n, e);
}

static enum err digest_src(struct aside *s, const struct dsrc *src, struct errmsg *e)
{
    uint8_t  chunk[CHUNK];
    size_t   got = 1;
    enum err rc = ERR_OK;
    for (uint64_t at = 0; rc == ERR_OK && got > 0; at += got) {
        rc = src->read(src->ctx, at, chunk, sizeof(chunk), &got, e);
        if (rc == ERR_OK) {
            digest_add(&s->digest, (struct bytes){chunk, got});
        }
    }
    return rc;
}

enum err aside_tail(struct ingest *i, const struct object *stored, enum ingest_outcome *ret,
                    struct errmsg *e)
{
    struct aside     *s = &i->aside;
    const struct dsrc mine = {.read = tail_read, .ctx = i, .size = i->len};
    bool              same = false;
    enum err          rc = ERR_OK;
    if (open_stored(i, stored)) {
        rc = is_same_src(&s->stored.src, &mine, &same, e);
    } else if (s->twin) {
        rc = digest_src(s, &mine, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (same) {
        *ret = INGEST_DUPLICATE;
        return ERR_OK;
    }
    rc = file_begin(i, &mine, mine.size, e);
    s->len = i->len;
    return rc == ERR_OK ? aside_commit(i, ret, e) : rc;
}
