/* garonne doctor: looks at a set-up as an experienced administrator would, and says what to mend.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "prog/cli.h"
#include "sys/conf.h"
#include "sys/file.h"
#include "sys/sock.h"
#include "sys/tls.h"

enum verdict { GOOD, WARN, BAD };

struct doctor {
    struct place p;
    struct buf   json;
    struct jsonw w;
    unsigned     n[3];
};

static void say(struct doctor *d, enum verdict v, const char *what, const char *found,
                const char *mend)
{
    static const char *const words[] = {"ok  ", "warn", "BAD "};
    static const char *const codes[] = {"ok", "warning", "bad"};
    d->n[v]++;
    if (d->p.json) {
        jsonw_obj(&d->w);
        jsonw_key(&d->w, STR("check"));
        jsonw_str(&d->w, str_of(what));
        jsonw_key(&d->w, STR("verdict"));
        jsonw_str(&d->w, str_of(codes[v]));
        jsonw_key(&d->w, STR("found"));
        jsonw_str(&d->w, str_of(found));
        jsonw_key(&d->w, STR("mend"));
        jsonw_str(&d->w, str_of(v == GOOD ? "" : mend));
        jsonw_obj_end(&d->w);
        return;
    }
    (void)printf("%s %-22s %s\n", words[v], what, found);
    if (v != GOOD) {
        (void)printf("     %-22s -> %s\n", "", mend);
    }
}

static void check_folder(struct doctor *d)
{
    struct statvfs v;
    char           text[128];
    if (statvfs(d->p.data, &v) != 0) {
        say(d, BAD, "data folder", "does not exist", "create it, or give the right --data");
        return;
    }
    uint64_t free_mb = (uint64_t)v.f_bavail * v.f_frsize >> 20,
             all_mb = (uint64_t)v.f_blocks * v.f_frsize >> 20;
    unsigned used = all_mb > 0 ? (unsigned)(100 - free_mb * 100 / all_mb) : 100;
    (void)snprintf(text, sizeof(text), "%llu MB free, %u %% used", (unsigned long long)free_mb,
                   used);
    say(d,
        used >= 95 || free_mb < 512 ? BAD
        : used >= 85                ? WARN
                                    : GOOD,
        "disk space", text,
        "make room or grow the file system: at 100 % C-STORE is refused with A700");
    say(d, access(d->p.data, W_OK | X_OK) == 0 ? GOOD : BAD, "data folder", d->p.data,
        "the user that runs garonne must be able to write here");
    if (v.f_favail > 0 && v.f_favail < 100000) {
        say(d, WARN, "inodes", "fewer than 100,000 left",
            "a pack is one file, a study one folder: make room");
    }
}

/* What every acknowledged image waits for. */
static void check_sync(struct doctor *d)
{
    char          text[128];
    struct errmsg e = {0};
    uint8_t       block[8192] = {1};
    int           fd = open(d->p.data, O_TMPFILE | O_RDWR, 0600);
    if (fd < 0) {
        say(d, WARN, "sync time", "could not be measured", "the file system has no O_TMPFILE");
        return;
    }

    enum { ROUNDS = 20 };

    (void)posix_fallocate(fd, 0, (off_t)(ROUNDS * sizeof(block)));
    int64_t t0 = clock_mono_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (file_write_at(fd, i * sizeof(block), (struct bytes){block, sizeof(block)}, &e) !=
                ERR_OK ||
            file_sync(fd, &e) != ERR_OK) {
            say(d, BAD, "sync", e.text, "writing to the data folder fails");
            (void)close(fd);
            return;
        }
    }
    double ms = (double)(clock_mono_ns() - t0) / 1e6 / ROUNDS;
    (void)close(fd);
    (void)snprintf(text, sizeof(text), "%.2f ms", ms);
    say(d, ms > 20 ? WARN : GOOD, "sync time", text,
        "each image waits for one sync: use a disk with power-loss protection");
}

static void check_peer(struct doctor *d, const struct tenant *t, const struct peer *p)
{
    char          what[64], text[160];
    struct errmsg e = {0};
    struct sock  *s;
    if (p->port == 0 || p->host.len == 0) {
        return;
    }
    (void)snprintf(what, sizeof(what), "peer %.*s/%.*s", STR_ARG(t->code), STR_ARG(p->aet));
    if (sock_connect(p->host, p->port, deadline_in_ms(2000), &s, &e) == ERR_OK) {
        sock_free(s);
        (void)snprintf(text, sizeof(text), "%.*s:%u answers", STR_ARG(p->host), p->port);
        say(d, GOOD, what, text, "");
        return;
    }
    (void)snprintf(text, sizeof(text), "%.100s", e.text);
    say(d, WARN, what, text,
        "C-MOVE to it will fail: start it, or mend its address by `garonne peer set`");
}

static void check_people(struct doctor *d, struct db *db)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    struct errmsg  e = {0};
    struct tenant *t = NULL;
    struct peer   *p = NULL;
    size_t         n = 0, n_p = 0;
    char           text[128];
    if (tenant_list(db, &mem, &t, &n, &e) != ERR_OK) {
        say(d, BAD, "tenants", e.text, "the index cannot be read: `garonne reindex`");
        return;
    }
    (void)snprintf(text, sizeof(text), "%zu", n);
    say(d, n > 0 ? GOOD : BAD, "tenants", text, "nobody can call yet: `garonne tenant add`");
    for (size_t i = 0; i < n; i++) {
        if (peer_list(db, t[i].id, &mem, &p, &n_p, &e) != ERR_OK) {
            continue;
        }
        (void)snprintf(text, sizeof(text), "%.*s: %zu", STR_ARG(t[i].code), n_p);
        say(d, n_p > 0 ? GOOD : WARN, "peers", text,
            "no AE title may call this tenant: `garonne peer add`");
        for (size_t k = 0; k < n_p; k++) {
            check_peer(d, &t[i], &p[k]);
        }
    }
}

static void check_index(struct doctor *d, struct archive *a, struct db *db)
{
    struct index_counts c = {0};
    struct errmsg       e = {0};
    char                text[160], path[LIMIT_PATH];
    if (index_count(db, 0, &c, &e) != ERR_OK) {
        say(d, BAD, "index", e.text, "`garonne reindex` rebuilds it from the packs");
        return;
    }
    (void)snprintf(text, sizeof(text), "%lld studies, %lld images, %lld packs sealed, %lld open",
                   (long long)c.studies, (long long)c.images, (long long)c.packs_sealed,
                   (long long)c.packs_open);
    say(d, GOOD, "index", text, "");
    (void)snprintf(text, sizeof(text), "%lld", (long long)c.quarantined);
    say(d, c.quarantined == 0 ? GOOD : WARN, "quarantine", text,
        "images came twice with other content: look at them, the first ones are served");
    if (path_make(path, &e, "%s/registry.json", archive_root(a)) == ERR_OK) {
        say(d, access(path, R_OK) == 0 || c.tenants == 0 ? GOOD : BAD, "registry.json", path,
            "without it `reindex` cannot restore tenants: run any `garonne tenant set`");
    }
}

static void check_limits(struct doctor *d)
{
    struct rlimit r = {0};
    char          text[64];
    (void)getrlimit(RLIMIT_NOFILE, &r);
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)r.rlim_cur);
    say(d, r.rlim_cur >= 4096 ? GOOD : WARN, "open files", text,
        "raise it (LimitNOFILE=65536): three for each association, one for each open pack");
}

static void check_settings(struct doctor *d)
{
    char          path[LIMIT_PATH];
    struct conf   c;
    struct errmsg e = {0};
    struct tls   *t = NULL;
    conf_init(&c);
    if (path_make(path, &e, "%s/garonne.yaml", d->p.data) != ERR_OK || access(path, F_OK) != 0) {
        say(d, GOOD, "garonne.yaml", "none: defaults", "");
        return;
    }
    bool good = conf_load(path, &c, &e) == ERR_OK && conf_check(&c, &e) == ERR_OK;
    say(d, good ? GOOD : BAD, "garonne.yaml", good ? path : e.text,
        "mend the line named, docs/configuration.md has every key");
    if (good && c.dimse_tls.cert[0] != '\0') {
        struct tls_conf tc = {.cert = c.dimse_tls.cert,
                              .key = c.dimse_tls.key,
                              .ca = c.dimse_tls.ca[0] != '\0' ? c.dimse_tls.ca : NULL,
                              .server = true,
                              .peer_cert = c.dimse_tls.peer_cert};
        good = tls_new(&tc, &t, &e) == ERR_OK;
        say(d, good ? GOOD : BAD, "TLS files", good ? c.dimse_tls.cert : e.text,
            "certificate and key must be PEM and belong together");
        tls_free(t);
    }
}

static void examine(struct doctor *d)
{
    struct archive     *a = NULL;
    struct errmsg       e = {0};
    struct archive_conf c = {.data = d->p.data, .db_url = d->p.db};
    check_folder(d);
    check_limits(d);
    if (d->n[BAD] > 0) {
        return;
    }
    check_settings(d);
    check_sync(d);
    if (archive_open(&c, &a, &e) != ERR_OK) {
        say(d, BAD, "archive", e.text, "the database must be reachable and the folder whole");
        return;
    }
    struct db *db = db_pool_take(archive_db(a), &e);
    if (db == NULL) {
        say(d, BAD, "database", e.text, "start it, or mend --db");
    } else {
        check_index(d, a, db);
        check_people(d, db);
    }
    db_pool_give(archive_db(a), db);
    archive_close(a);
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor    d = {0};
    const struct opt opts[] = {PLACE_OPTS(d.p)};
    int              n = 0;
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n != 0 ||
        d.p.data == NULL) {
        return usage("usage: garonne doctor --data DIR [--db URL] [--json]");
    }
    buf_init(&d.json, LIMIT_VALUE);
    jsonw_init(&d.w, &d.json);
    jsonw_arr(&d.w);
    examine(&d);
    jsonw_arr_end(&d.w);
    if (d.p.json) {
        print_json(&d.json);
    } else {
        (void)printf("%u good, %u warnings, %u bad\n", d.n[GOOD], d.n[WARN], d.n[BAD]);
    }
    buf_done(&d.json);
    return d.n[BAD] == 0 ? EXIT_DONE : EXIT_FAILED;
}
