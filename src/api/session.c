/*
 * /api/v1/session: the portal's sign-in.  A token is exchanged for a cookie that scripts cannot
 * read and that other sites cannot use; every request asks anew whether the token still holds.
 */
#include <stdio.h>

#include "api/api_priv.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "pack/jsonr.h"

static enum err tenant_name(struct api *a, const struct actor *who, struct arena *mem,
                            struct str *ret, struct errmsg *e)
{
    struct db_pool *pool = archive_db(a->conf.archive);
    struct db      *db = db_pool_take(pool, e);
    struct tenant   t = {0};
    enum err        rc = db == NULL ? e->code : tenant_by_code(db, str_of(who->tenant), mem, &t, e);
    db_pool_give(pool, db);
    *ret = t.name;
    return rc;
}

static void answer_who(struct http_request *r, struct api *a, const struct actor *who)
{
    struct errmsg e = {0};
    struct str    name;
    struct buf    b;
    struct jsonw  w;
    enum err      rc = tenant_name(a, who, http_arena(r), &name, &e);
    if (rc != ERR_OK) {
        http_fail(r, rc, &e);
        return;
    }
    buf_init(&b, LIMIT_SESSION_BODY);
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_key(&w, STR("tenant"));
    jsonw_str(&w, str_of(who->tenant));
    jsonw_key(&w, STR("tenantName"));
    jsonw_str(&w, name);
    jsonw_key(&w, STR("role"));
    jsonw_str(&w, str_of(role_name(who->role)));
    jsonw_key(&w, STR("name"));
    jsonw_str(&w, str_of(who->name));
    jsonw_obj_end(&w);
    http_add_header(r, "Cache-Control", STR("no-store"));
    http_answer_buf(r, 200, "application/json", &b);
}

/* Secure where the browser came by TLS: a hospital's plain test node must work as well. */
static void set_cookie(struct http_request *r, struct str value, const char *age)
{
    char       text[TOKEN_TEXT + 128];
    struct str proto = http_header(r, "X-Forwarded-Proto");
    (void)snprintf(text, sizeof(text), "garonne=%.*s; Path=/; HttpOnly; SameSite=Strict%s%s",
                   STR_ARG(value), age, str_eq(proto, STR("https")) ? "; Secure" : "");
    http_add_header(r, "Set-Cookie", str_of(text));
}

/* Tokens are of the letters of base64url; anything else could break out of the cookie. */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '_' || c == '-')) {
            return false;
        }
    }
    return s.len > 0 && s.len < TOKEN_TEXT;
}

/* {"token": "grn_…"}; other members are passed over. */
static bool read_token(struct http_request *r, struct str *ret)
{
    struct jsonr j;
    struct str   key;
    jsonr_init(&j, http_body(r), http_arena(r));
    *ret = STR("");
    jsonr_obj(&j);
    while (jsonr_key(&j, &key)) {
        if (str_eq(key, STR("token"))) {
            *ret = jsonr_str(&j);
        } else {
            jsonr_skip(&j);
        }
    }
    return jsonr_end(&j) == ERR_OK;
}

/* A form of another site cannot send this type without asking first. */
static bool is_json(struct http_request *r)
{
    struct str type = http_header(r, "Content-Type");
    return type.len >= 16 && memcmp(type.ptr, "application/json", 16) == 0;
}

void session_begin(struct http_request *r, void *arg)
{
    struct api   *a = arg;
    struct str    token;
    struct actor  who;
    struct errmsg e = {0};
    if (!is_json(r) || !read_token(r, &token)) {
        http_error(r, 400, "syntax", "a JSON object with a token is expected");
        return;
    }
    enum err rc = is_token(token) ? access_token(a->conf.access, token, &who, &e) : ERR_NOTFOUND;
    if (rc == ERR_NOTFOUND) {
        log_info("session.refused", "peer=%.*s", STR_ARG(http_peer(r)));
        http_error(r, 401, "unauthorized", "the token is unknown, revoked or expired");
        return;
    }
    if (rc != ERR_OK) {
        http_fail(r, rc, &e);
        return;
    }
    log_info("session.begin", "tenant=%s token=%lld", who.tenant, (long long)who.token_id);
    set_cookie(r, token, "");
    answer_who(r, a, &who);
}

void session_tell(struct http_request *r, void *arg)
{
    struct api  *a = arg;
    struct actor who;
    if (access_actor(a->conf.access, r, ACT_FIND, STR(""), &who)) {
        answer_who(r, a, &who);
    }
}

void session_end(struct http_request *r, void *arg)
{
    (void)arg;
    set_cookie(r, STR(""), "; Max-Age=0");
    http_answer(r, 204, NULL, (struct bytes){0});
}
