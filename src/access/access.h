#pragma once
/*
 * Who asks, and what may they do: tokens, roles, and the one decision.  DESIGN section 8.
 *
 * Until people have accounts an actor is an API token of one tenant with one role.  The portal's
 * session cookie carries such a token.  Any thread.
 */
#include "http/http.h"
#include "index/index.h"

enum role { // the words of garonne token add --role
    ROLE_RADIOLOGIST,
    ROLE_TECHNOLOGIST,
    ROLE_SECRETARY,
    ROLE_CLINICIAN,
    ROLE_ADMINISTRATOR, // PACS administrator of the tenant
    ROLE_SERVICE,       // another system: reads and stores, rejects nothing
    ROLES__COUNT
};

enum act { ACT_FIND, ACT_READ, ACT_STORE, ACT_REJECT, ACT__COUNT };

const char *role_name(enum role r);
bool        role_parse(struct str s, enum role *ret);
bool        access_decide(enum role r, enum act a);

struct actor {
    int64_t   token_id, tenant_id;
    enum role role;
    char      tenant[33]; // code
    char      name[64];   // of the token, for logs
};

/* ---- tokens: 256 random bits, kept as their SHA-256 */
struct token {
    int64_t    id, tenant_id;
    struct str tenant, name;
    enum role  role;
    int64_t    created_us, expires_us, revoked_us; // 0: never
};

enum { TOKEN_TEXT = 64 }; // "grn_" and 43 characters, and room

enum err token_add(struct db *db, const struct token *t, char ret_text[TOKEN_TEXT], int64_t *ret_id,
                   struct errmsg *e) MUST_USE;
enum err token_list(struct db *db, int64_t tenant_id, struct arena *a, struct token **ret,
                    size_t *ret_n, struct errmsg *e) MUST_USE; // tenant_id 0: all
enum err token_revoke(struct db *db, int64_t id, struct errmsg *e) MUST_USE;

/* ---- callers of HTTP */
struct access; // what is known of tokens lately
enum err access_new(struct db_pool *db, struct access **ret, struct errmsg *e) MUST_USE;
void     access_free(struct access *a);

/*
 * The actor of a request: Authorization: Bearer, else the cookie "garonne" (then a method other
 * than GET must come from our own origin).  A token is believed for LIMIT_TOKEN_CACHE_MS, so that a
 * frame costs no database: a revoked one closes within that time.
 *
 * Answers the request itself and returns false when there is none (401, WWW-Authenticate), when
 * {tenant} of the path is not the actor's (404: it does not exist for them), or the role may not
 * (403).  tenant: the path's, or empty.
 */
bool     access_actor(struct access *a, struct http_request *r, enum act act, struct str tenant,
                      struct actor *ret);
/* The actor of a token's text: what a sign-in asks.  ERR_NOTFOUND: unknown, revoked or expired. */
enum err access_token(struct access *a, struct str text, struct actor *ret,
                      struct errmsg *e) MUST_USE;
/* Is the caller's token known without asking the database?  Then a handler on the loop may call
 * access_actor. */
bool     access_is_cached(struct access *a, struct http_request *r);
