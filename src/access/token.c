#include <openssl/sha.h>
#include <stdio.h>
#include <sys/random.h>

#include "access/access_priv.h"
#include "base/clock.h"
#include "base/limits.h"

static const char TOKEN_ADD[] =
    "INSERT INTO token (tenant_id, name, role, sha256, created_us, expires_us, revoked_us) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) RETURNING token_id";
static const char TOKEN_BY_SHA256[] =
    "SELECT token_id, t.tenant_id, k.role, t.code, k.name, k.expires_us "
    "FROM token k JOIN tenant t ON t.tenant_id = k.tenant_id "
    "WHERE k.sha256 = ?1 AND k.revoked_us = 0 AND (k.expires_us = 0 OR k.expires_us > ?2)";
static const char TOKEN_ALL[] =
    "SELECT token_id, t.tenant_id, t.code, k.name, k.role, k.created_us, k.expires_us, "
    "k.revoked_us FROM token k JOIN tenant t ON t.tenant_id = k.tenant_id "
    "WHERE ?1 = 0 OR k.tenant_id = ?1 ORDER BY token_id";
static const char TOKEN_REVOKE[] =
    "UPDATE token SET revoked_us = ?2 WHERE token_id = ?1 AND revoked_us = 0";

void sha256_text(struct str s, char ret[SHA_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t           md[SHA256_DIGEST_LENGTH];
    (void)SHA256((const uint8_t *)s.ptr, s.len, md);
    for (size_t i = 0; i < sizeof(md); i++) {
        ret[2 * i] = digits[md[i] >> 4];
        ret[2 * i + 1] = digits[md[i] & 15];
    }
    ret[2 * sizeof(md)] = '\0';
}

/* 256 random bits in the letters of base64url. */
static enum err make_text(char ret[TOKEN_TEXT], struct errmsg *e)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t r[33] = {0};
    char   *to = ret + 4;
    if (getrandom(r, 32, 0) != 32) {
        return err_set(e, ERR_IO, "no random numbers");
    }
    memcpy(ret, "grn_", 4);
    for (size_t i = 0; i < sizeof(r); i += 3) {
        uint32_t v = (uint32_t)r[i] << 16 | (uint32_t)r[i + 1] << 8 | r[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            *to++ = letters[v >> shift & 63];
        }
    }
    ret[4 + 43] = '\0';
    return ERR_OK;
}

enum err token_add(struct db *db, const struct token *t, char ret_text[TOKEN_TEXT], int64_t *ret_id,
                   struct errmsg *e)
{
    char sha[SHA_TEXT];
    if (t->name.len > LIMIT_INDEX_VALUE) {
        return err_set(e, ERR_LIMIT, "the token's name is too long");
    }
    enum err rc = make_text(ret_text, e);
    if (rc != ERR_OK) {
        return rc;
    }
    sha256_text(str_of(ret_text), sha);
    auto_stmt *q = db_query(db, TOKEN_ADD);
    db_bind_int(q, 1, t->tenant_id);
    db_bind_str(q, 2, t->name);
    db_bind_str(q, 3, str_of(role_name(t->role)));
    db_bind_str(q, 4, str_of(sha));
    db_bind_int(q, 5, clock_wall_us());
    db_bind_int(q, 6, t->expires_us);
    int64_t id = db_step(q) ? db_col_int(q, 0) : 0;
    rc = db_end(q, e);
    if (rc == ERR_OK) {
        *ret_id = id;
    }
    return rc;
}

enum err token_by_sha256(struct db *db, const char sha256[SHA_TEXT], struct actor *ret,
                         int64_t *ret_expires_us, struct errmsg *e)
{
    auto_stmt *q = db_query(db, TOKEN_BY_SHA256);
    bool       known = false;
    db_bind_str(q, 1, str_of(sha256));
    db_bind_int(q, 2, clock_wall_us());
    if (db_step(q)) {
        *ret = (struct actor){.token_id = db_col_int(q, 0), .tenant_id = db_col_int(q, 1)};
        known = role_parse(db_col_str(q, 2), &ret->role);
        (void)snprintf(ret->tenant, sizeof(ret->tenant), "%.*s", STR_ARG(db_col_str(q, 3)));
        (void)snprintf(ret->name, sizeof(ret->name), "%.*s", STR_ARG(db_col_str(q, 4)));
        *ret_expires_us = db_col_int(q, 5);
    }
    enum err rc = db_end(q, e);
    return rc != ERR_OK || known ? rc : err_set(e, ERR_NOTFOUND, "no such token");
}

static enum err token_read(struct db_stmt *q, struct arena *a, struct token *ret, struct errmsg *e)
{
    *ret = (struct token){
        .id = db_col_int(q, 0),
        .tenant_id = db_col_int(q, 1),
        .tenant = arena_str(a, db_col_str(q, 2)),
        .name = arena_str(a, db_col_str(q, 3)),
        .created_us = db_col_int(q, 5),
        .expires_us = db_col_int(q, 6),
        .revoked_us = db_col_int(q, 7),
    };
    if (!role_parse(db_col_str(q, 4), &ret->role)) {
        return err_set(e, ERR_SYNTAX, "token %lld has a role that is none", (long long)ret->id);
    }
    return ret->tenant.ptr != NULL && ret->name.ptr != NULL
               ? ERR_OK
               : err_set(e, ERR_NOMEM, "no memory for a token");
}

enum err token_list(struct db *db, int64_t tenant_id, struct arena *a, struct token **ret,
                    size_t *ret_n, struct errmsg *e)
{
    struct token *list = NULL;
    size_t        n = 0, room = 0;
    enum err      rc = ERR_OK;
    auto_stmt    *q = db_query(db, TOKEN_ALL);
    db_bind_int(q, 1, tenant_id);
    while (rc == ERR_OK && db_step(q)) {
        if (n == room) {
            room = room == 0 ? 16 : 2 * room;
            struct token *more = arena_array(a, room, struct token);
            if (more == NULL) {
                return err_set(e, ERR_NOMEM, "no memory for the tokens");
            }
            if (n > 0) {
                memcpy(more, list, n * sizeof(*more));
            }
            list = more;
        }
        rc = token_read(q, a, &list[n], e);
        n += rc == ERR_OK;
    }
    rc = rc == ERR_OK ? db_end(q, e) : rc;
    *ret = list;
    *ret_n = n;
    return rc;
}

enum err token_revoke(struct db *db, int64_t id, struct errmsg *e)
{
    auto_stmt *q = db_query(db, TOKEN_REVOKE);
    db_bind_int(q, 1, id);
    db_bind_int(q, 2, clock_wall_us());
    enum err rc = db_end(q, e);
    return rc != ERR_OK || db_changed(q) == 1
               ? rc
               : err_set(e, ERR_NOTFOUND, "no token %lld that is in force", (long long)id);
}
