/* garonne peer add|set|list|remove: the AE titles that may call a tenant, and where C-MOVE finds
 * them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "dicom/charset.h"
#include "prog/cli.h"

static const char help[] =
    "usage: garonne peer add TITLE --tenant CODE [--host ADDR] [--port N] [--tls] [--cert SHA256] "
    "[--charset TERM] --data DIR\n"
    "       garonne peer set TITLE --tenant CODE [the same options] --data DIR\n"
    "       garonne peer remove TITLE --tenant CODE --data DIR\n"
    "       garonne peer list [--tenant CODE] --data DIR [--json]\n"
    "Without --host calls may come from any address, and the peer is no C-MOVE destination.";

struct change {
    const char *tenant, *host, *port, *cert, *charset;
    bool        tls;
};

static bool is_fingerprint(struct str s)
{
    bool ok = s.len == 64 || s.len == 0;
    for (size_t i = 0; ok && i < s.len; i++) {
        ok = (s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f');
    }
    return ok;
}

static bool change(const struct change *c, struct peer *p)
{
    uint32_t port = p->port;
    p->tls = p->tls || c->tls;
    p->host = c->host != NULL ? str_of(c->host) : p->host;
    p->cert = c->cert != NULL ? str_of(c->cert) : p->cert;
    p->charset = c->charset != NULL ? str_of(c->charset) : p->charset;
    if (c->port != NULL && !opt_u32("--port", c->port, UINT16_MAX, &port)) {
        return false;
    }
    p->port = (uint16_t)port;
    if (!is_fingerprint(p->cert)) {
        (void)usage("--cert takes the SHA-256 of the certificate (DER) in 64 lower-case "
                    "hexadecimal digits");
        return false;
    }
    if (p->charset.len > 0 && !is_charset_known(str_bytes(p->charset))) {
        (void)usage(
            "--charset takes a defined term of Specific Character Set, such as \"ISO_IR 100\"");
        return false;
    }
    return true;
}

static int add(struct db *db, const struct tenant *t, const char *aet, const struct change *c)
{
    struct errmsg e = {0};
    int64_t       id;
    struct peer   p = {.tenant_id = t->id, .aet = str_of(aet)};
    if (!is_aet(p.aet)) {
        return usage("an AE title is 1 to 16 printable ASCII characters without a backslash");
    }
    if (!change(c, &p)) {
        return EXIT_USAGE;
    }
    enum err rc = peer_add(db, &p, &id, &e);
    if (rc == ERR_EXISTS) {
        (void)fprintf(stderr, "garonne: tenant %.*s has a peer %s already\n", STR_ARG(t->code),
                      aet);
        return EXIT_FAILED;
    }
    return rc == ERR_OK ? EXIT_DONE : fail(&e, "peer add");
}

static int set(struct db *db, const struct tenant *t, const char *aet, const struct change *c)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    struct errmsg e = {0};
    struct peer   p;
    if (peer_by_aet(db, t->id, str_of(aet), &mem, &p, &e) != ERR_OK) {
        return fail(&e, "peer set");
    }
    if (!change(c, &p)) {
        return EXIT_USAGE;
    }
    return peer_update(db, &p, &e) == ERR_OK ? EXIT_DONE : fail(&e, "peer set");
}

static void write_json(struct jsonw *w, const struct peer *p, struct str tenant)
{
    const struct {
        struct str key, v;
    } texts[] = {{STR("tenant"), tenant},
                 {STR("aet"), p->aet},
                 {STR("host"), p->host},
                 {STR("cert"), p->cert},
                 {STR("charset"), p->charset}};

    jsonw_obj(w);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        jsonw_key(w, texts[i].key);
        jsonw_str(w, texts[i].v);
    }
    jsonw_key(w, STR("port"));
    jsonw_u64(w, p->port);
    jsonw_key(w, STR("tls"));
    jsonw_bool(w, p->tls);
    jsonw_obj_end(w);
}

static struct str code_of(const struct tenant *t, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (t[i].id == id) {
            return t[i].code;
        }
    }
    return STR("?");
}

static int list(struct db *db, int64_t tenant_id, bool json)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_VALUE);
    struct errmsg  e = {0};
    struct tenant *t = NULL;
    struct peer   *p = NULL;
    size_t         n_t = 0, n = 0;
    struct jsonw   w;
    if (tenant_list(db, &mem, &t, &n_t, &e) != ERR_OK ||
        peer_list(db, tenant_id, &mem, &p, &n, &e) != ERR_OK) {
        return fail(&e, "peer list");
    }
    jsonw_init(&w, &b);
    jsonw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        struct str code = code_of(t, n_t, p[i].tenant_id);
        write_json(&w, &p[i], code);
        if (!json) {
            (void)printf("%-16.*s %-16.*s %.*s:%u%s\n", STR_ARG(code), STR_ARG(p[i].aet),
                         STR_ARG(p[i].host.len > 0 ? p[i].host : STR("any")), p[i].port,
                         p[i].tls ? " TLS" : "");
        }
    }
    jsonw_arr_end(&w);
    if (json) {
        print_json(&b);
    }
    return EXIT_DONE;
}

static int with_tenant(struct archive *a, struct db *db, char **argv, const struct change *c,
                       bool json)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    struct errmsg e = {0};
    struct tenant t = {0};
    const char   *verb = argv[1];
    int           rc;
    if (c->tenant != NULL && tenant_by_code(db, str_of(c->tenant), &mem, &t, &e) != ERR_OK) {
        return fail(&e, "peer");
    }
    if (strcmp(verb, "list") == 0) {
        return list(db, t.id, json);
    }
    if (strcmp(verb, "remove") == 0) {
        rc = peer_remove(db, t.id, str_of(argv[2]), &e) == ERR_OK ? EXIT_DONE
                                                                  : fail(&e, "peer remove");
    } else {
        rc = strcmp(verb, "add") == 0 ? add(db, &t, argv[2], c) : set(db, &t, argv[2], c);
    }
    if (rc == EXIT_DONE && archive_registry_write(a, &e) != ERR_OK) {
        rc = fail(&e, "registry");
    }
    return rc;
}

int cmd_peer(int argc, char **argv)
{
    struct place     p = {0};
    struct change    c = {0};
    const struct opt opts[] = {PLACE_OPTS(p),
                               {"--tenant", &c.tenant, NULL},
                               {"--host", &c.host, NULL},
                               {"--port", &c.port, NULL},
                               {"--cert", &c.cert, NULL},
                               {"--charset", &c.charset, NULL},
                               {"--tls", NULL, &c.tls}};
    int              n = 0;
    struct archive  *a = NULL;
    struct errmsg    e = {0};
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n < 1) {
        return usage(help);
    }
    bool is_list = strcmp(argv[1], "list") == 0;
    bool is_one = strcmp(argv[1], "add") == 0 || strcmp(argv[1], "set") == 0 ||
                  strcmp(argv[1], "remove") == 0;
    if (!(is_list && n == 1) && !(is_one && n == 2 && c.tenant != NULL)) {
        return usage(help);
    }
    int rc = place_open(&p, false, false, &a);
    if (rc != EXIT_DONE) {
        return rc;
    }
    struct db *db = db_pool_take(archive_db(a), &e);
    rc = db == NULL ? fail(&e, "database") : with_tenant(a, db, argv, &c, p.json);
    db_pool_give(archive_db(a), db);
    archive_close(a);
    return rc;
}
