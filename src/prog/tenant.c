/* garonne tenant add|set|list|show|remove: the structures that this platform serves. */
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/name.h"
#include "prog/cli.h"

static const char help[] =
    "usage: garonne tenant add CODE --name NAME --aet TITLE [--services "
    "pacs,archive,backup,ris,share] [--recompress off|htj2k] --data DIR\n"
    "       garonne tenant set CODE [--name NAME] [--aet TITLE] [--services LIST] "
    "[--recompress off|htj2k] --data DIR\n"
    "       garonne tenant list | show CODE | remove CODE --data DIR [--json]";

static const char *const service_names[] = {"pacs", "archive", "backup", "ris", "share"};

enum { N_SERVICES = sizeof(service_names) / sizeof(service_names[0]) };

static bool parse_services(const char *text, unsigned *ret)
{
    unsigned bits = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, ","), i = 0;
        while (i < N_SERVICES && !str_eq(str_of(service_names[i]), (struct str){text, n})) {
            i++;
        }
        if (i == N_SERVICES) {
            (void)fprintf(stderr,
                          "garonne: no service \"%.*s\": pacs, archive, backup, ris, share\n",
                          (int)n, text);
            return false;
        }
        bits |= 1U << i;
        text += n + (text[n] == ',' ? 1 : 0);
    }
    *ret = bits;
    return true;
}

static const char *const recompress_names[RECOMPRESS__COUNT] = {"off", "htj2k"};

static bool parse_recompress(const char *text, enum recompress *ret)
{
    for (unsigned i = 0; i < RECOMPRESS__COUNT; i++) {
        if (strcmp(text, recompress_names[i]) == 0) {
            *ret = (enum recompress)i;
            return true;
        }
    }
    (void)fprintf(stderr, "garonne: --recompress is off or htj2k\n");
    return false;
}

static void write_json(struct jsonw *w, const struct tenant *t, const struct index_counts *c)
{
    jsonw_obj(w);
    jsonw_key(w, STR("code"));
    jsonw_str(w, t->code);
    jsonw_key(w, STR("name"));
    jsonw_str(w, t->name);
    jsonw_key(w, STR("aet"));
    jsonw_str(w, t->aet);
    jsonw_key(w, STR("services"));
    jsonw_arr(w);
    for (unsigned i = 0; i < N_SERVICES; i++) {
        if ((t->services >> i & 1) != 0) {
            jsonw_str(w, str_of(service_names[i]));
        }
    }
    jsonw_arr_end(w);
    jsonw_key(w, STR("recompress"));
    jsonw_str(w, str_of(recompress_names[t->recompress]));

    const struct {
        struct str key;
        int64_t    v;
    } counts[] = {{STR("peers"), c->peers},
                  {STR("patients"), c->patients},
                  {STR("studies"), c->studies},
                  {STR("series"), c->series},
                  {STR("images"), c->images},
                  {STR("bytes"), c->bytes},
                  {STR("quarantined"), c->quarantined}};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        jsonw_key(w, counts[i].key);
        jsonw_i64(w, counts[i].v);
    }
    jsonw_obj_end(w);
}

static int show(struct db *db, const struct tenant *t, size_t n, bool array, bool json)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_VALUE);
    struct jsonw w;
    jsonw_init(&w, &b);
    if (array) {
        jsonw_arr(&w);
    }
    for (size_t i = 0; i < n; i++) {
        struct index_counts c = {0};
        struct errmsg       e = {0};
        if (index_count(db, t[i].id, &c, &e) != ERR_OK) {
            return fail(&e, "counts");
        }
        if (json) {
            write_json(&w, &t[i], &c);
            continue;
        }
        (void)printf("%-16.*s %-16.*s %6lld studies %9lld images  %.*s\n", STR_ARG(t[i].code),
                     STR_ARG(t[i].aet), (long long)c.studies, (long long)c.images,
                     STR_ARG(t[i].name));
    }
    if (json) {
        if (array) {
            jsonw_arr_end(&w);
        }
        print_json(&b);
    }
    return EXIT_DONE;
}

struct change {
    const char *name, *aet, *services, *recompress;
};

/* Apply what was given to *t; false after telling. */
static bool change(const struct change *c, struct tenant *t)
{
    if (c->name != NULL) {
        t->name = str_of(c->name);
    }
    if (c->aet != NULL) {
        t->aet = str_of(c->aet);
        if (!is_aet(t->aet)) {
            (void)usage("--aet takes 1 to 16 printable ASCII characters without a backslash");
            return false;
        }
    }
    return (c->services == NULL || parse_services(c->services, &t->services)) &&
           (c->recompress == NULL || parse_recompress(c->recompress, &t->recompress));
}

static int add(struct archive *a, struct db *db, const char *code, const struct change *c)
{
    struct errmsg e = {0};
    int64_t       id;
    struct tenant t = {.code = str_of(code), .services = SERVICE_PACS};
    if (!is_tenant_code(t.code)) {
        return usage("a tenant's code is 1 to 32 of A-Z 0-9 _ -");
    }
    if (c->name == NULL || c->aet == NULL) {
        return usage(help);
    }
    if (!change(c, &t)) {
        return EXIT_USAGE;
    }
    enum err rc = tenant_add(db, &t, &id, &e);
    if (rc == ERR_EXISTS) {
        (void)fprintf(stderr, "garonne: a tenant with code %s or AE title %s exists already\n",
                      code, c->aet);
        return EXIT_FAILED;
    }
    if (rc != ERR_OK || archive_registry_write(a, &e) != ERR_OK) {
        return fail(&e, "tenant add");
    }
    return EXIT_DONE;
}

static int one(struct archive *a, struct db *db, const char *verb, const char *code,
               const struct change *c, bool json)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    struct errmsg e = {0};
    struct tenant t;
    enum err      rc = tenant_by_code(db, str_of(code), &mem, &t, &e);
    if (rc != ERR_OK) {
        return fail(&e, "tenant");
    }
    if (strcmp(verb, "show") == 0) {
        return show(db, &t, 1, false, json);
    }
    if (strcmp(verb, "set") == 0) {
        if (!change(c, &t)) {
            return EXIT_USAGE;
        }
        rc = tenant_update(db, &t, &e);
    } else {
        rc = tenant_remove(db, t.id, &e);
    }
    if (rc == ERR_OK) {
        rc = archive_registry_write(a, &e);
    }
    return rc == ERR_OK ? EXIT_DONE : fail(&e, verb);
}

static int list(struct db *db, bool json)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    struct errmsg  e = {0};
    struct tenant *t = NULL;
    size_t         n = 0;
    if (tenant_list(db, &mem, &t, &n, &e) != ERR_OK) {
        return fail(&e, "tenant list");
    }
    return show(db, t, n, true, json);
}

int cmd_tenant(int argc, char **argv)
{
    struct place     p = {0};
    struct change    c = {0};
    const struct opt opts[] = {PLACE_OPTS(p),
                               {"--name", &c.name, NULL},
                               {"--aet", &c.aet, NULL},
                               {"--services", &c.services, NULL},
                               {"--recompress", &c.recompress, NULL}};
    int              n = 0;
    struct archive  *a = NULL;
    struct errmsg    e = {0};
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n < 1) {
        return usage(help);
    }
    const char *verb = argv[1];
    bool        is_list = strcmp(verb, "list") == 0, is_add = strcmp(verb, "add") == 0;
    bool        is_one =
        strcmp(verb, "show") == 0 || strcmp(verb, "set") == 0 || strcmp(verb, "remove") == 0;
    if (!(is_list && n == 1) && !((is_add || is_one) && n == 2)) {
        return usage(help);
    }
    int rc = place_open(&p, false, false, &a);
    if (rc != EXIT_DONE) {
        return rc;
    }
    struct db *db = db_pool_take(archive_db(a), &e);
    if (db == NULL) {
        rc = fail(&e, "database");
    } else {
        rc = is_list  ? list(db, p.json)
             : is_add ? add(a, db, argv[2], &c)
                      : one(a, db, verb, argv[2], &c, p.json);
    }
    db_pool_give(archive_db(a), db);
    archive_close(a);
    return rc;
}
