/* garonne token add|list|revoke: who may call over HTTP. */
#include <stdio.h>

#include "access/access.h"
#include "base/clock.h"
#include "base/num.h"
#include "prog/cli.h"

static const char help[] =
    "usage: garonne token add --tenant CODE --role ROLE [--days N] [--name TEXT] --data DIR\n"
    "       garonne token list [--tenant CODE] --data DIR [--json]\n"
    "       garonne token revoke ID --data DIR\n"
    "ROLE is radiologist, technologist, secretary, clinician, administrator or service.\n"
    "add prints the token alone, this once.";

struct wish {
    const char *tenant, *role, *days, *name;
    enum role   parsed;
    uint32_t    n_days; // 0: for ever
};

static int add(struct db *db, int64_t tenant_id, const struct wish *v)
{
    static const int64_t day_us = 86400LL * 1000000;
    struct errmsg        e = {0};
    char                 text[TOKEN_TEXT];
    int64_t              id;
    struct token         t = {
                .tenant_id = tenant_id,
                .name = str_of(v->name != NULL ? v->name : v->role),
                .role = v->parsed,
                .expires_us = v->n_days > 0 ? clock_wall_us() + day_us * v->n_days : 0,
    };
    if (token_add(db, &t, text, &id, &e) != ERR_OK) {
        return fail(&e, "token add");
    }
    (void)puts(text);
    return EXIT_DONE;
}

static void put_time(struct jsonw *w, const char *key, int64_t us)
{
    char text[CLOCK_TEXT];
    jsonw_key(w, str_of(key));
    if (us == 0) {
        jsonw_null(w);
        return;
    }
    clock_text(us, text);
    jsonw_str(w, str_of(text));
}

static void put_json(struct jsonw *w, const struct token *t)
{
    jsonw_obj(w);
    jsonw_key(w, STR("id"));
    jsonw_i64(w, t->id);
    jsonw_key(w, STR("tenant"));
    jsonw_str(w, t->tenant);
    jsonw_key(w, STR("role"));
    jsonw_str(w, str_of(role_name(t->role)));
    jsonw_key(w, STR("name"));
    jsonw_str(w, t->name);
    put_time(w, "created", t->created_us);
    put_time(w, "expires", t->expires_us);
    put_time(w, "revoked", t->revoked_us);
    jsonw_obj_end(w);
}

static void print_line(const struct token *t)
{
    int64_t     now = clock_wall_us();
    const char *state = t->revoked_us != 0                           ? "revoked"
                        : t->expires_us != 0 && t->expires_us <= now ? "expired"
                                                                     : "in force";
    (void)printf("%6lld %-16.*s %-14s %-9s %.*s\n", (long long)t->id, STR_ARG(t->tenant),
                 role_name(t->role), state, STR_ARG(t->name));
}

static int list(struct db *db, int64_t tenant_id, bool json)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_VALUE);
    struct errmsg e = {0};
    struct token *t = NULL;
    size_t        n = 0;
    struct jsonw  w;
    if (token_list(db, tenant_id, &mem, &t, &n, &e) != ERR_OK) {
        return fail(&e, "token list");
    }
    jsonw_init(&w, &b);
    jsonw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        put_json(&w, &t[i]);
        if (!json) {
            print_line(&t[i]);
        }
    }
    jsonw_arr_end(&w);
    if (json) {
        print_json(&b);
    }
    return EXIT_DONE;
}

static int revoke(struct db *db, const char *id)
{
    struct errmsg e = {0};
    int64_t       n = 0;
    if (!parse_i64(str_of(id), &n)) {
        return usage("the ID of a token is a number: garonne token list");
    }
    return token_revoke(db, n, &e) == ERR_OK ? EXIT_DONE : fail(&e, "token revoke");
}

static int run(struct db *db, char **argv, const struct wish *v, bool json)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    struct errmsg e = {0};
    struct tenant t = {0};
    if (v->tenant != NULL && tenant_by_code(db, str_of(v->tenant), &mem, &t, &e) != ERR_OK) {
        return fail(&e, "token");
    }
    if (strcmp(argv[1], "add") == 0) {
        return add(db, t.id, v);
    }
    return strcmp(argv[1], "list") == 0 ? list(db, t.id, json) : revoke(db, argv[2]);
}

/* Is it one of the three forms, with what it needs? */
static bool is_asked(char **argv, int n, struct wish *v)
{
    if (n == 1 && strcmp(argv[1], "list") == 0) {
        return true;
    }
    if (n == 2 && strcmp(argv[1], "revoke") == 0) {
        return true;
    }
    return n == 1 && strcmp(argv[1], "add") == 0 && v->tenant != NULL && v->role != NULL &&
           role_parse(str_of(v->role), &v->parsed);
}

int cmd_token(int argc, char **argv)
{
    struct place     p = {0};
    struct wish      v = {0};
    const struct opt opts[] = {PLACE_OPTS(p),
                               {"--tenant", &v.tenant, NULL},
                               {"--role", &v.role, NULL},
                               {"--days", &v.days, NULL},
                               {"--name", &v.name, NULL}};
    int              n = 0;
    struct archive  *a = NULL;
    struct errmsg    e = {0};
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n < 1 ||
        !is_asked(argv, n, &v)) {
        return usage(help);
    }
    if (v.days != NULL && !opt_u32("--days", v.days, LIMIT_TOKEN_DAYS, &v.n_days)) {
        return EXIT_USAGE;
    }
    int rc = place_open(&p, false, false, &a);
    if (rc != EXIT_DONE) {
        return rc;
    }
    struct db *db = db_pool_take(archive_db(a), &e);
    rc = db == NULL ? fail(&e, "database") : run(db, argv, &v, p.json);
    db_pool_give(archive_db(a), db);
    archive_close(a);
    return rc;
}
