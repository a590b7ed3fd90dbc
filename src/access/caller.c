/* Who calls over HTTP: the token of a header or a cookie, looked up at most every
 * LIMIT_TOKEN_CACHE_MS. */
#include <stdlib.h>
#include <strings.h>

#include "access/access_priv.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"

struct known {
    char         sha256[SHA_TEXT]; // "": free
    struct actor actor;
    int64_t      until_ns; // believed until then
};

struct access {
    struct db_pool *db;
    struct lock     lock; // of what follows
    struct known    known[LIMIT_TOKENS];
};

enum err access_new(struct db_pool *db, struct access **ret, struct errmsg *e)
{
    struct access *a = calloc(1, sizeof(*a)); // allow-banned: access_free
    if (a == NULL) {
        return err_set(e, ERR_NOMEM, "access");
    }
    a->db = db;
    lock_init(&a->lock, LOCK_LEAF);
    *ret = a;
    return ERR_OK;
}

void access_free(struct access *a)
{
    if (a != NULL) {
        lock_done(&a->lock);
        free(a);
    }
}

/* ---- the token of a request */

static struct str after(struct str s, const char *word)
{
    size_t n = strlen(word);
    return s.len > n && strncasecmp(s.ptr, word, n) == 0 ? (struct str){s.ptr + n, s.len - n}
                                                         : (struct str){0};
}

static struct str cookie(struct str line)
{
    struct str one;
    while (str_next(&line, ';', &one)) {
        while (one.len > 0 && *one.ptr == ' ') {
            one = (struct str){one.ptr + 1, one.len - 1};
        }
        if (one.len > 8 && memcmp(one.ptr, "garonne=", 8) == 0) {
            return (struct str){one.ptr + 8, one.len - 8};
        }
    }
    return (struct str){0};
}

/* false: neither header nor cookie. */
static bool token_hash(struct http_request *r, bool *ret_cookie, char ret[SHA_TEXT])
{
    struct str text = after(http_header(r, "Authorization"), "Bearer ");
    *ret_cookie = text.len == 0;
    if (*ret_cookie) {
        text = cookie(http_header(r, "Cookie"));
    }
    if (text.len > 0) {
        sha256_text(text, ret);
    }
    return text.len > 0;
}

/* A cookie comes along with whatever a foreign page makes the browser send: what changes something
 * must name our own host as its origin. */
static bool is_own_origin(struct http_request *r)
{
    struct str origin = http_header(r, "Origin");
    struct str host = http_header(r, "Host");
    struct str rest = after(origin, "http://");
    rest = rest.len > 0 ? rest : after(origin, "https://");
    return rest.len > 0 && str_eq(rest, host);
}

/* ---- what is known */

static struct known *slot_of(struct access *a, const char sha256[SHA_TEXT])
{
    size_t at = 0; // the first letters are as random as any hash of them
    for (size_t i = 0; i < 4; i++) {
        at = at * 16 + (size_t)(sha256[i] <= '9' ? sha256[i] - '0' : sha256[i] - 'a' + 10);
    }
    return &a->known[at % LIMIT_TOKENS];
}

static bool recall(struct access *a, const char sha256[SHA_TEXT], struct actor *ret)
{
    lock_take(&a->lock);
    const struct known *k = slot_of(a, sha256);
    bool good = memcmp(k->sha256, sha256, SHA_TEXT) == 0 && clock_mono_ns() < k->until_ns;
    if (good) {
        *ret = k->actor;
    }
    lock_give(&a->lock);
    return good;
}

static void remember(struct access *a, const char sha256[SHA_TEXT], const struct actor *actor,
                     int64_t expires_us)
{
    int64_t ms = LIMIT_TOKEN_CACHE_MS;
    int64_t left = expires_us != 0 ? (expires_us - clock_wall_us()) / 1000 : ms;
    lock_take(&a->lock);
    struct known *k = slot_of(a, sha256);
    memcpy(k->sha256, sha256, SHA_TEXT);
    k->actor = *actor;
    k->until_ns = clock_mono_ns() + (left < ms ? left : ms) * 1000000;
    lock_give(&a->lock);
}

static enum err look_up(struct access *a, const char sha256[SHA_TEXT], struct actor *ret,
                        struct errmsg *e)
{
    if (recall(a, sha256, ret)) {
        return ERR_OK;
    }
    int64_t    expires_us = 0;
    struct db *db = db_pool_take(a->db, e);
    enum err   rc = db == NULL ? e->code : token_by_sha256(db, sha256, ret, &expires_us, e);
    db_pool_give(a->db, db);
    if (rc == ERR_OK) {
        remember(a, sha256, ret, expires_us);
    }
    return rc;
}

enum err access_token(struct access *a, struct str text, struct actor *ret, struct errmsg *e)
{
    char sha256[SHA_TEXT];
    sha256_text(text, sha256);
    return look_up(a, sha256, ret, e);
}

bool access_is_cached(struct access *a, struct http_request *r)
{
    char         sha256[SHA_TEXT];
    bool         by_cookie;
    struct actor actor;
    return !token_hash(r, &by_cookie, sha256) || recall(a, sha256, &actor);
}

/* ---- the answer */

bool access_actor(struct access *a, struct http_request *r, enum act act, struct str tenant,
                  struct actor *ret)
{
    char          sha256[SHA_TEXT];
    bool          by_cookie;
    struct errmsg e = {0};
    if (!token_hash(r, &by_cookie, sha256)) {
        http_add_header(r, "WWW-Authenticate", STR("Bearer"));
        http_error(r, 401, "unauthorized", "a token is needed");
        return false;
    }
    enum err rc = look_up(a, sha256, ret, &e);
    if (rc == ERR_NOTFOUND) {
        http_add_header(r, "WWW-Authenticate", STR("Bearer error=\"invalid_token\""));
        http_error(r, 401, "unauthorized", "the token is unknown, revoked or expired");
        return false;
    }
    if (rc != ERR_OK) {
        http_fail(r, rc, &e);
        return false;
    }
    if (tenant.len > 0 && !str_eq(tenant, str_of(ret->tenant))) {
        http_error(r, 404, "not_found", "no such tenant");
        return false;
    }
    bool changes = act == ACT_STORE || act == ACT_REJECT;
    if (!access_decide(ret->role, act) || (changes && by_cookie && !is_own_origin(r))) {
        http_error(r, 403, "denied", "the role %s may not do this", role_name(ret->role));
        return false;
    }
    return true;
}
