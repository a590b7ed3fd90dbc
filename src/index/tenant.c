#include "base/limits.h"
#include "base/name.h"
#include "index/index_priv.h"

static const char TENANT_ADD[] =
    "INSERT INTO tenant (code, name, aet, services, recompress) VALUES (?1, ?2, ?3, ?4, ?5) "
    "RETURNING tenant_id";
static const char TENANT_UPDATE[] =
    "UPDATE tenant SET code = ?2, name = ?3, aet = ?4, services = ?5, recompress = ?6 "
    "WHERE tenant_id = ?1";
static const char TENANT_BY_CODE[] =
    "SELECT tenant_id, code, name, aet, services, recompress FROM tenant WHERE code = ?1";
static const char TENANT_BY_AET[] =
    "SELECT tenant_id, code, name, aet, services, recompress FROM tenant WHERE aet = ?1";
static const char TENANT_ALL[] =
    "SELECT tenant_id, code, name, aet, services, recompress FROM tenant ORDER BY code";
static const char TENANT_OWNS[] =
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM study WHERE tenant_id = ?1) "
    "OR EXISTS (SELECT 1 FROM quarantine WHERE tenant_id = ?1) THEN 1 ELSE 0 END";
static const char TENANT_PEERS_REMOVE[] = "DELETE FROM peer WHERE tenant_id = ?1";
static const char TENANT_REMOVE[] = "DELETE FROM tenant WHERE tenant_id = ?1";

static const char PEER_ADD[] = "INSERT INTO peer (tenant_id, aet, host, port, cert, tls, charset) "
                               "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING peer_id";
static const char PEER_UPDATE[] =
    "UPDATE peer SET host = ?3, port = ?4, cert = ?5, tls = ?6, charset = ?7 "
    "WHERE tenant_id = ?1 AND aet = ?2";
static const char PEER_REMOVE[] = "DELETE FROM peer WHERE tenant_id = ?1 AND aet = ?2";
static const char PEER_BY_AET[] =
    "SELECT peer_id, tenant_id, aet, host, port, cert, tls, charset FROM peer "
    "WHERE tenant_id = ?1 AND aet = ?2";
static const char PEER_ALL[] =
    "SELECT peer_id, tenant_id, aet, host, port, cert, tls, charset FROM peer "
    "ORDER BY tenant_id, aet";
static const char PEER_OF[] =
    "SELECT peer_id, tenant_id, aet, host, port, cert, tls, charset FROM peer "
    "WHERE tenant_id = ?1 ORDER BY aet";

/* ---- what may be stored */

static enum err tenant_check(const struct tenant *t, struct errmsg *e)
{
    if (!is_tenant_code(t->code)) {
        return err_set(e, ERR_SYNTAX, "a tenant's code is 1 to 32 of A-Z 0-9 _ -");
    }
    if (!is_aet(t->aet)) {
        return err_set(e, ERR_SYNTAX, "an AE title is 1 to 16 printable characters");
    }
    return t->name.len <= LIMIT_INDEX_VALUE
               ? ERR_OK
               : err_set(e, ERR_LIMIT, "the tenant's name is too long");
}

/* ---- tenants */

static enum err tenant_read(struct db_stmt *q, struct arena *a, struct tenant *ret,
                            struct errmsg *e)
{
    enum err rc = ERR_OK;
    *ret = (struct tenant){
        .id = db_col_int(q, 0),
        .code = col_copy(q, 1, a, &rc),
        .name = col_copy(q, 2, a, &rc),
        .aet = col_copy(q, 3, a, &rc),
        .services = (unsigned)db_col_int(q, 4),
        .recompress = db_col_int(q, 5) == RECOMPRESS_HTJ2K ? RECOMPRESS_HTJ2K : RECOMPRESS_OFF,
    };
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "no memory for a tenant");
}

enum err tenant_add(struct db *db, const struct tenant *t, int64_t *ret_id, struct errmsg *e)
{
    enum err rc = tenant_check(t, e);
    if (rc != ERR_OK) {
        return rc;
    }
    auto_stmt *q = db_query(db, TENANT_ADD);
    db_bind_str(q, 1, t->code);
    db_bind_str(q, 2, t->name);
    db_bind_str(q, 3, t->aet);
    db_bind_int(q, 4, t->services);
    db_bind_int(q, 5, t->recompress);
    int64_t id = db_step(q) ? db_col_int(q, 0) : 0;
    rc = db_end(q, e);
    if (rc == ERR_OK) {
        *ret_id = id;
    }
    return rc;
}

enum err tenant_update(struct db *db, const struct tenant *t, struct errmsg *e)
{
    enum err rc = tenant_check(t, e);
    if (rc != ERR_OK) {
        return rc;
    }
    auto_stmt *q = db_query(db, TENANT_UPDATE);
    db_bind_int(q, 1, t->id);
    db_bind_str(q, 2, t->code);
    db_bind_str(q, 3, t->name);
    db_bind_str(q, 4, t->aet);
    db_bind_int(q, 5, t->services);
    db_bind_int(q, 6, t->recompress);
    rc = db_end(q, e);
    return rc != ERR_OK || db_changed(q) == 1 ? rc : err_set(e, ERR_NOTFOUND, "no such tenant");
}

static enum err tenant_one(struct db *db, const char *sql, struct str key, struct arena *a,
                           struct tenant *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(db, sql);
    db_bind_str(q, 1, key);
    if (!db_step(q)) {
        enum err rc = db_end(q, e);
        return rc != ERR_OK ? rc : err_set(e, ERR_NOTFOUND, "no tenant %.*s", STR_ARG(key));
    }
    return tenant_read(q, a, ret, e);
}

enum err tenant_by_code(struct db *db, struct str code, struct arena *a, struct tenant *ret,
                        struct errmsg *e)
{
    return tenant_one(db, TENANT_BY_CODE, code, a, ret, e);
}

enum err tenant_by_aet(struct db *db, struct str aet, struct arena *a, struct tenant *ret,
                       struct errmsg *e)
{
    return tenant_one(db, TENANT_BY_AET, aet, a, ret, e);
}

enum err tenant_list(struct db *db, struct arena *a, struct tenant **ret, size_t *ret_n,
                     struct errmsg *e)
{
    struct tenant *list = NULL;
    size_t         n = 0;
    enum err       rc = ERR_OK;
    auto_stmt     *q = db_query(db, TENANT_ALL);
    while (rc == ERR_OK && db_step(q)) {
        list = list_room(a, list, n, sizeof(*list));
        rc = list == NULL ? err_set(e, ERR_LIMIT, "no memory for the list of tenants")
                          : tenant_read(q, a, &list[n++], e);
    }
    rc = rc != ERR_OK ? rc : db_end(q, e);
    if (rc == ERR_OK) {
        *ret = list;
        *ret_n = n;
    }
    return rc;
}

static enum err remove_all(struct db *db, void *arg, struct errmsg *e)
{
    int64_t id = *(int64_t *)arg;
    {
        auto_stmt *q = db_query(db, TENANT_OWNS);
        db_bind_int(q, 1, id);
        bool     owns = db_step(q) && db_col_int(q, 0) != 0;
        enum err rc = db_end(q, e);
        if (rc != ERR_OK || owns) {
            return rc != ERR_OK ? rc : ERR_DENIED;
        }
    }
    {
        auto_stmt *q = db_query(db, TENANT_PEERS_REMOVE);
        db_bind_int(q, 1, id);
        enum err rc = db_end(q, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    auto_stmt *q = db_query(db, TENANT_REMOVE);
    db_bind_int(q, 1, id);
    enum err rc = db_end(q, e);
    return rc != ERR_OK || db_changed(q) == 1 ? rc : err_set(e, ERR_NOTFOUND, "no such tenant");
}

enum err tenant_remove(struct db *db, int64_t id, struct errmsg *e)
{
    struct errmsg mine = {0};
    enum err      rc = db_tx(db, remove_all, &id, &mine);
    if (rc == ERR_DENIED) { // ERR_CONFLICT inside would have been retried as a lost race
        return err_set(e, ERR_CONFLICT, "the tenant owns studies");
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

/* ---- peers */

static enum err peer_check(const struct peer *p, struct errmsg *e)
{
    if (!is_aet(p->aet)) {
        return err_set(e, ERR_SYNTAX, "an AE title is 1 to 16 printable characters");
    }
    if (p->cert.len != 0 && p->cert.len != 64) {
        return err_set(e, ERR_SYNTAX, "a certificate's SHA-256 is 64 hexadecimal digits");
    }
    return p->host.len <= 253 && p->charset.len <= 64
               ? ERR_OK
               : err_set(e, ERR_LIMIT, "host or character set too long");
}

/* Parameters 3 to 7 of PEER_ADD and PEER_UPDATE. */
static void peer_bind(struct db_stmt *q, const struct peer *p)
{
    db_bind_int(q, 1, p->tenant_id);
    db_bind_str(q, 2, p->aet);
    db_bind_str(q, 3, p->host);
    db_bind_int(q, 4, p->port);
    db_bind_str(q, 5, p->cert);
    db_bind_int(q, 6, p->tls ? 1 : 0);
    db_bind_str(q, 7, p->charset);
}

enum err peer_add(struct db *db, const struct peer *p, int64_t *ret_id, struct errmsg *e)
{
    enum err rc = peer_check(p, e);
    if (rc != ERR_OK) {
        return rc;
    }
    auto_stmt *q = db_query(db, PEER_ADD);
    peer_bind(q, p);
    int64_t id = db_step(q) ? db_col_int(q, 0) : 0;
    rc = db_end(q, e);
    if (rc == ERR_OK) {
        *ret_id = id;
    }
    return rc;
}

enum err peer_update(struct db *db, const struct peer *p, struct errmsg *e)
{
    enum err rc = peer_check(p, e);
    if (rc != ERR_OK) {
        return rc;
    }
    auto_stmt *q = db_query(db, PEER_UPDATE);
    peer_bind(q, p);
    rc = db_end(q, e);
    return rc != ERR_OK || db_changed(q) == 1
               ? rc
               : err_set(e, ERR_NOTFOUND, "no peer %.*s", STR_ARG(p->aet));
}

enum err peer_remove(struct db *db, int64_t tenant_id, struct str aet, struct errmsg *e)
{
    auto_stmt *q = db_query(db, PEER_REMOVE);
    db_bind_int(q, 1, tenant_id);
    db_bind_str(q, 2, aet);
    enum err rc = db_end(q, e);
    return rc != ERR_OK || db_changed(q) == 1
               ? rc
               : err_set(e, ERR_NOTFOUND, "no peer %.*s", STR_ARG(aet));
}

static enum err peer_read(struct db_stmt *q, struct arena *a, struct peer *ret, struct errmsg *e)
{
    enum err rc = ERR_OK;
    *ret = (struct peer){
        .id = db_col_int(q, 0),
        .tenant_id = db_col_int(q, 1),
        .aet = col_copy(q, 2, a, &rc),
        .host = col_copy(q, 3, a, &rc),
        .port = (uint16_t)db_col_int(q, 4),
        .cert = col_copy(q, 5, a, &rc),
        .tls = db_col_int(q, 6) != 0,
        .charset = col_copy(q, 7, a, &rc),
    };
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "no memory for a peer");
}

enum err peer_by_aet(struct db *db, int64_t tenant_id, struct str aet, struct arena *a,
                     struct peer *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(db, PEER_BY_AET);
    db_bind_int(q, 1, tenant_id);
    db_bind_str(q, 2, aet);
    if (!db_step(q)) {
        enum err rc = db_end(q, e);
        return rc != ERR_OK ? rc : err_set(e, ERR_NOTFOUND, "no peer %.*s", STR_ARG(aet));
    }
    return peer_read(q, a, ret, e);
}

enum err peer_list(struct db *db, int64_t tenant_id, struct arena *a, struct peer **ret,
                   size_t *ret_n, struct errmsg *e)
{
    struct peer *list = NULL;
    size_t       n = 0;
    enum err     rc = ERR_OK;
    auto_stmt   *q = db_query(db, tenant_id == 0 ? PEER_ALL : PEER_OF);
    if (tenant_id != 0) {
        db_bind_int(q, 1, tenant_id);
    }
    while (rc == ERR_OK && db_step(q)) {
        list = list_room(a, list, n, sizeof(*list));
        rc = list == NULL ? err_set(e, ERR_LIMIT, "no memory for the list of peers")
                          : peer_read(q, a, &list[n++], e);
    }
    rc = rc != ERR_OK ? rc : db_end(q, e);
    if (rc == ERR_OK) {
        *ret = list;
        *ret_n = n;
    }
    return rc;
}
