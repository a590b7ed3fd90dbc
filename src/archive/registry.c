#include "archive/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "archive/archive_priv.h"
#include "base/jsonw.h"
#include "pack/jsonr.h"
#include "sys/file.h"

enum { VERSION = 1, FILE_MODE = 0640 };

static void field(struct jsonw *w, struct str key, struct str value)
{
    jsonw_key(w, key);
    jsonw_str(w, value);
}

static void number(struct jsonw *w, struct str key, uint64_t value)
{
    jsonw_key(w, key);
    jsonw_u64(w, value);
}

static void peer_format(const struct peer *p, struct jsonw *w)
{
    jsonw_obj(w);
    field(w, STR("aet"), p->aet);
    field(w, STR("host"), p->host);
    number(w, STR("port"), p->port);
    field(w, STR("cert"), p->cert);
    number(w, STR("tls"), p->tls ? 1 : 0);
    field(w, STR("charset"), p->charset);
    jsonw_obj_end(w);
}

void registry_format(const struct registry *r, struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_obj(&w);
    number(&w, STR("garonne_registry"), VERSION);
    jsonw_key(&w, STR("tenants"));
    jsonw_arr(&w);
    for (size_t i = 0; i < r->n; i++) {
        const struct registry_tenant *t = &r->tenants[i];
        jsonw_obj(&w);
        field(&w, STR("code"), t->tenant.code);
        field(&w, STR("name"), t->tenant.name);
        field(&w, STR("aet"), t->tenant.aet);
        number(&w, STR("services"), t->tenant.services);
        if (t->tenant.recompress == RECOMPRESS_HTJ2K) {
            field(&w, STR("recompress"), STR("htj2k"));
        }
        jsonw_key(&w, STR("peers"));
        jsonw_arr(&w);
        for (size_t k = 0; k < t->n_peers; k++) {
            peer_format(&t->peers[k], &w);
        }
        jsonw_arr_end(&w);
        jsonw_obj_end(&w);
    }
    jsonw_arr_end(&w);
    jsonw_obj_end(&w);
    buf_u8(out, '\n');
}

/* ---- reading */

/* Texts are views of the file's bytes; they are taken into the arena by what stores them. */
static void peer_parse(struct jsonr *r, struct peer *p)
{
    struct str k;
    jsonr_obj(r);
    while (jsonr_key(r, &k)) {
        if (str_eq(k, STR("aet"))) {
            p->aet = jsonr_str(r);
        } else if (str_eq(k, STR("host"))) {
            p->host = jsonr_str(r);
        } else if (str_eq(k, STR("port"))) {
            uint64_t n = jsonr_u64(r);
            p->port = n <= UINT16_MAX ? (uint16_t)n : 0;
        } else if (str_eq(k, STR("cert"))) {
            p->cert = jsonr_str(r);
        } else if (str_eq(k, STR("tls"))) {
            p->tls = jsonr_u64(r) != 0;
        } else if (str_eq(k, STR("charset"))) {
            p->charset = jsonr_str(r);
        } else {
            jsonr_skip(r);
        }
    }
}

/* Room for one more in an array of the arena's that doubles. */
static void *one_more(struct jsonr *r, struct arena *a, void *v, size_t n, size_t size)
{
    if (n != 0 && (n < 8 || (n & (n - 1)) != 0)) {
        return v;
    }
    void *more = arena_alloc(a, n == 0 ? 8 : n * 2, size);
    if (more == NULL) {
        cur_fail(&r->c, ERR_LIMIT);
    } else if (n > 0) {
        memcpy(more, v, n * size);
    }
    return more;
}

static void peers_parse(struct jsonr *r, struct arena *a, struct registry_tenant *t)
{
    jsonr_arr(r);
    while (jsonr_item(r)) {
        t->peers = one_more(r, a, t->peers, t->n_peers, sizeof(*t->peers));
        if (t->peers != NULL) {
            peer_parse(r, &t->peers[t->n_peers++]);
        }
    }
}

static void tenant_parse(struct jsonr *r, struct arena *a, struct registry_tenant *t)
{
    struct str k;
    jsonr_obj(r);
    while (jsonr_key(r, &k)) {
        if (str_eq(k, STR("code"))) {
            t->tenant.code = jsonr_str(r);
        } else if (str_eq(k, STR("name"))) {
            t->tenant.name = jsonr_str(r);
        } else if (str_eq(k, STR("aet"))) {
            t->tenant.aet = jsonr_str(r);
        } else if (str_eq(k, STR("services"))) {
            t->tenant.services = (unsigned)(jsonr_u64(r) & UINT32_MAX);
        } else if (str_eq(k, STR("recompress"))) {
            t->tenant.recompress =
                str_eq(jsonr_str(r), STR("htj2k")) ? RECOMPRESS_HTJ2K : RECOMPRESS_OFF;
        } else if (str_eq(k, STR("peers"))) {
            peers_parse(r, a, t);
        } else {
            jsonr_skip(r);
        }
    }
}

static void tenants_parse(struct jsonr *r, struct arena *a, struct registry *out)
{
    jsonr_arr(r);
    while (jsonr_item(r)) {
        out->tenants = one_more(r, a, out->tenants, out->n, sizeof(*out->tenants));
        if (out->tenants != NULL) {
            tenant_parse(r, a, &out->tenants[out->n++]);
        }
    }
}

enum err registry_parse(struct str json, struct arena *a, struct registry *ret, struct errmsg *e)
{
    struct registry out = {0};
    struct jsonr    r;
    struct str      k;
    bool            known = false;
    jsonr_init(&r, str_bytes(json), a);
    jsonr_obj(&r);
    while (jsonr_key(&r, &k)) {
        if (str_eq(k, STR("garonne_registry"))) {
            known = jsonr_u64(&r) == VERSION;
        } else if (str_eq(k, STR("tenants"))) {
            tenants_parse(&r, a, &out);
        } else {
            jsonr_skip(&r);
        }
    }
    enum err rc = jsonr_end(&r);
    if (rc != ERR_OK) {
        return err_set(e, rc, "registry.json cannot be read");
    }
    if (!known) {
        return err_set(e, ERR_UNSUPPORTED, "registry.json is of another version");
    }
    *ret = out;
    return ERR_OK;
}

/* ---- from and to the archive */

enum err registry_read(struct db *db, struct arena *a, struct registry *ret, struct errmsg *e)
{
    struct tenant *tenants = NULL;
    size_t         n = 0;
    enum err       rc = tenant_list(db, a, &tenants, &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct registry out = {.tenants = arena_array(a, n == 0 ? 1 : n, struct registry_tenant)};
    if (out.tenants == NULL) {
        return err_set(e, ERR_LIMIT, "no memory for %zu tenants", n);
    }
    for (; out.n < n; out.n++) {
        struct registry_tenant *t = &out.tenants[out.n];
        t->tenant = tenants[out.n];
        rc = peer_list(db, t->tenant.id, a, &t->peers, &t->n_peers, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    *ret = out;
    return ERR_OK;
}

static enum err write_now(struct archive *a, const char *path, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, LIMIT_REGISTRY);
    buf_init(&out, LIMIT_REGISTRY);
    struct registry r = {0};
    struct errmsg   mine = {0};
    struct db      *db = db_pool_take(a->db, &mine);
    enum err        rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = registry_read(db, &mem, &r, &mine);
        db_pool_give(a->db, db);
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", mine.text);
    }
    registry_format(&r, &out);
    struct bytes json;
    if (buf_end(&out, &json) != ERR_OK) {
        return err_set(e, ERR_LIMIT, "registry.json is too large");
    }
    return file_commit(path, json, FILE_MODE, e);
}

/* Read and written under a file lock: who changed the database before is in what we read, who
 * changes it later writes after us. */
enum err archive_registry_write(struct archive *a, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    char                    path[PACK_PATH + 32];
    (void)snprintf(path, sizeof(path), "%s/.registry.lock", a->root);
    enum err rc = file_open(path, O_RDWR | O_CREAT, FILE_MODE, &fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(fd, F_OFD_SETLKW, &l) != 0) {
        if (errno != EINTR) {
            return file_errno(e, "lock", path);
        }
    }
    (void)snprintf(path, sizeof(path), "%s/registry.json", a->root);
    return write_now(a, path, e);
}
