#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "pack/pack_priv.h"
#include "sys/file.h"

enum { PACK_MODE = 0640 };

static const char SUFFIX[] = ".new"; // of the file aside

enum err pack_rewrite_begin(const struct pack *p, struct pack **ret, struct errmsg *e)
{
    struct pack *q = NULL;
    char         path[PACK_PATH];
    enum err     rc = pack_new_like(p, &q, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (snprintf(path, sizeof(path), "%s%s", p->path, SUFFIX) >= (int)sizeof(path)) {
        rc = err_set(e, ERR_LIMIT, "the path of a pack is too long");
    }
    if (rc == ERR_OK) { // what a crash left there is of no use
        memcpy(q->path, path, sizeof(path));
        rc = file_open(path, O_RDWR | O_CREAT | O_TRUNC, PACK_MODE, &q->fd, e);
    }
    rc = rc == ERR_OK ? pack_lock(q, e) : rc;
    if (rc != ERR_OK) {
        pack_free(q);
        return rc;
    }
    *ret = q;
    return ERR_OK;
}

void pack_rewrite_drop(struct pack *q)
{
    if (q != NULL) {
        (void)unlink(q->path);
        pack_free(q);
    }
}

enum err pack_image_keep(struct pack *p, int64_t mtime, struct errmsg *e)
{
    assert(p->writing);
    p->mtime = mtime;
    enum err rc = member_end(p, e);
    p->mtime = 0;
    rc = rc == ERR_OK ? pack_image_take(p, e) : rc;
    if (rc != ERR_OK) {
        pack_image_abort(p);
    }
    return rc;
}

static enum err is_whole(const struct pack *p, const struct pack *q, struct errmsg *e)
{
    bool same = p->images.n == q->images.n;
    for (size_t i = 0; same && i < p->images.n; i++) {
        same = strcmp(p->images.ptr[i].sop_uid, q->images.ptr[i].sop_uid) == 0;
    }
    return same ? ERR_OK : err_set(e, ERR_SYNTAX, "%.180s would lose images", p->path);
}

/* At every moment one of the two is whole under the name. */
enum err pack_rewrite_end(struct pack *p, struct pack *q, struct errmsg *e)
{
    enum err rc = is_whole(p, q, e);
    rc = rc == ERR_OK ? pack_trim(q, q->end, e) : rc;
    if (rc == ERR_OK && ftruncate(q->fd, (off_t)(q->end + PACK_END)) != 0) {
        rc = file_errno(e, "extend", q->path);
    }
    q->reserved = rc == ERR_OK ? q->end + PACK_END : q->reserved;
    rc = rc == ERR_OK ? file_sync(q->fd, e) : rc;
    if (rc == ERR_OK && rename(q->path, p->path) != 0) {
        rc = file_errno(e, "rename to", p->path);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    memcpy(q->path, p->path, sizeof(q->path));
    pack_free(p);
    rc = file_sync_dir_of(q->path, NULL); // and again when it gets its last name
    q->dir_synced = rc == ERR_OK;
    return ERR_OK;
}
