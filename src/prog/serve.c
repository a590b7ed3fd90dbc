/* garonne serve: one node.  A thread for each association, the HTTP library's threads, a worker of
 * the archive. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"
#include "prog/cli.h"
#include "prog/surface.h"
#include "scp/scp.h"
#include "sys/conf.h"
#include "sys/sock.h"
#include "sys/tls.h"
#include "sys/worker.h"

static const char help[] = "usage: garonne serve --data DIR [--http ADDR:PORT] [--dimse ADDR:PORT] "
                           "[--web DIR] [--role platform|gateway] [--db URL] [--config FILE]\n"
                           "                     [--dimse-tls ADDR:PORT --tls-cert FILE --tls-key "
                           "FILE --tls-ca FILE] [--log debug|info|warn|error]";

struct node;

struct listener {
    struct node      *node;
    int               fd; // -1: off
    uint16_t          port;
    const struct tls *tls; // NULL: plain
    pthread_t         thread;
};

struct conn { // an open connection; its own descriptor of the socket, so that it can be shut down
              // by the node
    struct node      *node;
    struct sock      *sock;
    const struct tls *tls;
    int               fd;
    struct conn      *next, *prev;
};

struct node {
    struct conf        conf;
    struct archive    *archive;
    struct pixel_pool *pixel;
    struct scp         scp;
    struct surface    *surface;
    struct tls        *tls_server, *tls_client;
    struct listener    dimse, dimse_tls;
    struct lock        lock;  // of what follows
    struct conn        conns; // head of a ring
    size_t             n_conns;
    atomic_bool        stopping;
};

/* ---- connections */

static void conn_end(struct conn *c)
{
    lock_take(&c->node->lock);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    c->node->n_conns--;
    lock_give(&c->node->lock);
    (void)close(c->fd);
    free(c);
}

static void conn_run(void *arg)
{
    struct conn  *c = arg;
    struct errmsg e = {0};
    if (c->tls != NULL &&
        sock_start_tls(c->sock, c->tls, NULL, deadline_in_ms(LIMIT_ARTIM_MS), &e) != ERR_OK) {
        log_warn("tls.refused", "peer=%.*s why=%s", STR_ARG(sock_peer(c->sock)),
                 log_q(str_of(e.text)).z);
        sock_free(c->sock);
    } else {
        scp_run(&c->node->scp, c->sock);
    }
    conn_end(c);
}

static void conn_start(struct listener *l, struct sock *s)
{
    struct node  *n = l->node;
    struct errmsg e = {0};
    struct conn  *c = calloc(1, sizeof(*c)); // allow-banned: freed in conn_end
    if (c == NULL || (c->fd = dup(sock_fd(s))) < 0) {
        free(c);
        sock_free(s);
        log_error("accept.refused", "why=\"no descriptors or memory\"");
        return;
    }
    c->node = n;
    c->sock = s;
    c->tls = l->tls;
    lock_take(&n->lock);
    c->next = &n->conns;
    c->prev = n->conns.prev;
    c->prev->next = c;
    n->conns.prev = c;
    n->n_conns++;
    lock_give(&n->lock);
    if (worker_start("assoc", conn_run, c, &e) != ERR_OK) {
        log_error("accept.refused", "why=%s", log_q(str_of(e.text)).z);
        sock_free(s);
        conn_end(c);
    }
}

static void listen_run(void *arg)
{
    struct listener *l = arg;
    while (!l->node->stopping) {
        struct errmsg e = {0};
        struct sock  *s;
        enum err      rc = sock_accept(l->fd, deadline_in_ms(200), &s, &e);
        if (rc == ERR_OK) {
            conn_start(l, s);
        } else if (rc != ERR_TIMEOUT && !l->node->stopping) {
            log_error("accept.failed", "why=%s", log_q(str_of(e.text)).z);
            (void)usleep(50000); // out of descriptors: do not spin
        }
    }
}

static enum err listener_open(struct node *n, struct listener *l, const char *where,
                              const struct tls *tls, struct errmsg *e)
{
    *l = (struct listener){.node = n, .fd = -1, .tls = tls};
    return where[0] == '\0' ? ERR_OK : sock_listen(str_of(where), &l->fd, &l->port, e);
}

static enum err listener_start(struct listener *l, struct errmsg *e)
{
    return l->fd < 0 ? ERR_OK : worker_run("accept", listen_run, l, &l->thread, e);
}

static void listener_stop(struct listener *l)
{
    if (l->fd >= 0) {
        (void)pthread_join(l->thread, NULL);
        (void)close(l->fd);
    }
}

/* ---- settings */

struct flags {
    struct place p;
    const char  *http, *web, *dimse, *role, *config, *dimse_tls, *cert, *key, *ca, *log;
};

static bool set(char *to, size_t room, const char *from)
{
    return from == NULL || snprintf(to, room, "%s", from) < (int)room;
}

static enum err settings(const struct flags *f, struct conf *c, struct errmsg *e)
{
    char        path[PATH_MAX];
    struct stat st;
    conf_init(c);
    (void)snprintf(path, sizeof(path), "%s/garonne.yaml", f->p.data != NULL ? f->p.data : ".");
    const char *file = f->config != NULL                           ? f->config
                       : f->p.data != NULL && stat(path, &st) == 0 ? path
                                                                   : NULL;
    enum err    rc = file != NULL ? conf_load(file, c, e) : ERR_OK;
    if (rc != ERR_OK) {
        return rc;
    }
    bool fits = set(c->data, sizeof(c->data), f->p.data) && set(c->db, sizeof(c->db), f->p.db) &&
                set(c->http.listen, sizeof(c->http.listen), f->http) &&
                set(c->http.web, sizeof(c->http.web), f->web) &&
                set(c->dimse.listen, sizeof(c->dimse.listen), f->dimse) &&
                set(c->dimse_tls.listen, sizeof(c->dimse_tls.listen), f->dimse_tls) &&
                set(c->dimse_tls.cert, sizeof(c->dimse_tls.cert), f->cert) &&
                set(c->dimse_tls.key, sizeof(c->dimse_tls.key), f->key) &&
                set(c->dimse_tls.ca, sizeof(c->dimse_tls.ca), f->ca);
    if (!fits) {
        return err_set(e, ERR_LIMIT, "an option is too long");
    }
    if (f->role != NULL && !conf_role_parse(f->role, &c->role)) {
        return err_set(e, ERR_SYNTAX, "--role is platform or gateway");
    }
    if (f->log != NULL && !conf_log_level_parse(f->log, &c->log_level)) {
        return err_set(e, ERR_SYNTAX, "--log is debug, info, warn or error");
    }
    if (c->data[0] == '\0') {
        return err_set(e, ERR_SYNTAX, "--data DIR is missing: the folder of the archive");
    }
    return conf_check(c, e);
}

static enum err open_tls(struct node *n, struct errmsg *e)
{
    const struct conf_tls *t = &n->conf.dimse_tls;
    const char            *ca = t->ca[0] != '\0' ? t->ca : NULL;
    struct tls_conf        server = {
               .cert = t->cert, .key = t->key, .ca = ca, .server = true, .peer_cert = t->peer_cert};
    struct tls_conf client = {.cert = t->cert, .key = t->key, .ca = ca};
    if (t->cert[0] == '\0') {
        return ERR_OK;
    }
    enum err rc = tls_new(&server, &n->tls_server, e);
    return rc == ERR_OK ? tls_new(&client, &n->tls_client, e) : rc;
}

/* ---- life */

static void note(void *ctx, const char *path, const char *what)
{
    (void)ctx;
    log_error("archive.note", "path=%s what=%s", log_q(str_of(path)).z, log_q(str_of(what)).z);
}

/* Offset from UTC of the machine's zone, in minutes: that of dates and times without one of their
 * own. */
static int16_t local_zone(void)
{
    time_t    now = time(NULL);
    struct tm tm = {0};
    if (localtime_r(&now, &tm) == NULL) {
        return 0;
    }
    return (int16_t)(tm.tm_gmtoff / 60);
}

static enum err start(struct node *n, struct errmsg *e)
{
    const struct conf  *c = &n->conf;
    struct archive_conf ac = {
        .data = c->data,
        .db_url = c->db[0] != '\0' ? c->db : NULL,
        .seal_idle_ms = (int64_t)c->archive.seal_after * 1000,
        .max_pack = c->archive.max_pack,
        .recover = true,
        .background = true,
        .note = note,
    };
    enum err rc = open_tls(n, e);
    rc = rc == ERR_OK ? pixel_pool_new(&(struct pixel_conf){0}, &n->pixel, e) : rc;
    ac.pixel = n->pixel;
    rc = rc == ERR_OK ? archive_open(&ac, &n->archive, e) : rc;
    n->scp.pixel = n->pixel;
    n->scp.archive = n->archive;
    n->scp.client_tls = n->tls_client;
    n->scp.zone_minutes = local_zone();
    n->scp.max_associations = c->dimse.associations;
    n->scp.assoc =
        (struct assoc_conf){.max_pdu = c->dimse.max_pdu, .idle_ms = (int64_t)c->dimse.idle * 1000};
    rc = rc == ERR_OK ? listener_open(n, &n->dimse, c->dimse.listen, NULL, e) : rc;
    rc = rc == ERR_OK ? listener_open(n, &n->dimse_tls, c->dimse_tls.listen, n->tls_server, e) : rc;
    rc = rc == ERR_OK ? surface_start(c, n->archive, &n->scp, &n->surface, e) : rc;
    rc = rc == ERR_OK ? listener_start(&n->dimse, e) : rc;
    return rc == ERR_OK ? listener_start(&n->dimse_tls, e) : rc;
}

static void announce(const struct node *n)
{
    char        line[512];
    int         k = snprintf(line, sizeof(line), "listening http=%s", surface_where(n->surface));
    const char *hosts[] = {n->conf.dimse.listen, n->conf.dimse_tls.listen};
    const struct listener *l[] = {&n->dimse, &n->dimse_tls};
    const char            *names[] = {"dimse", "dimse_tls"};
    for (size_t i = 0; i < 2; i++) {
        if (l[i]->fd >= 0) {
            int host = (int)(strrchr(hosts[i], ':') - hosts[i]);
            k += snprintf(line + k, sizeof(line) - (size_t)k, " %s=%.*s:%u", names[i], host,
                          hosts[i], l[i]->port);
        }
    }
    (void)puts(line);
    (void)fflush(stdout);
}

static size_t open_conns(struct node *n)
{
    lock_take(&n->lock);
    size_t k = n->n_conns;
    lock_give(&n->lock);
    return k;
}

static bool drained(struct node *n, int64_t ms)
{
    struct deadline d = deadline_in_ms(ms);
    while (open_conns(n) > 0 && !is_deadline_past(d)) {
        (void)usleep(10000);
    }
    return open_conns(n) == 0;
}

/* No new associations; those at work may finish; then the rest is hung up on.  Nothing acknowledged
 * depends on it. */
static void drain(struct node *n)
{
    n->stopping = true;
    listener_stop(&n->dimse);
    listener_stop(&n->dimse_tls);
    if (!drained(n, LIMIT_DRAIN_MS)) {
        lock_take(&n->lock);
        for (struct conn *c = n->conns.next; c != &n->conns; c = c->next) {
            (void)shutdown(c->fd, SHUT_RDWR);
        }
        lock_give(&n->lock);
        if (!drained(n, LIMIT_DRAIN_MS)) {
            log_error("drain.stuck", "connections=%zu", open_conns(n));
            _exit(EXIT_FAILED); // packs are as after a crash: whole
        }
    }
    surface_stop(n->surface);
    archive_close(n->archive);
    pixel_pool_free(n->pixel);
}

static int serve(const struct conf *c)
{
    static struct node n; // one node a process
    struct errmsg      e = {0};
    sigset_t           stop;
    int                got = 0;
    n.conf = *c;
    n.conns.next = n.conns.prev = &n.conns;
    lock_init(&n.lock, LOCK_QUEUE);
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTERM);
    (void)sigaddset(&stop, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    log_set_level(c->log_level);
    log_set_phi(c->log_phi);
    if (start(&n, &e) != ERR_OK) {
        return fail(&e, "serve");
    }
    announce(&n);
    log_info("node.start", "data=%s role=%d", log_q(str_of(c->data)).z, (int)c->role);
    (void)sigwait(&stop, &got);
    log_info("node.stop", "signal=%d connections=%zu", got, open_conns(&n));
    drain(&n);
    tls_free(n.tls_server);
    tls_free(n.tls_client);
    lock_done(&n.lock);
    log_info("node.stopped", "clean=yes");
    return EXIT_DONE;
}

int cmd_serve(int argc, char **argv)
{
    struct flags     f = {0};
    struct conf      c;
    struct errmsg    e = {0};
    int              n = 0;
    const struct opt opts[] = {
        PLACE_OPTS(f.p),
        {"--http", &f.http, NULL},
        {"--web", &f.web, NULL},
        {"--dimse", &f.dimse, NULL},
        {"--role", &f.role, NULL},
        {"--config", &f.config, NULL},
        {"--dimse-tls", &f.dimse_tls, NULL},
        {"--tls-cert", &f.cert, NULL},
        {"--tls-key", &f.key, NULL},
        {"--tls-ca", &f.ca, NULL},
        {"--log", &f.log, NULL},
    };
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n != 0) {
        return usage(help);
    }
    if (settings(&f, &c, &e) != ERR_OK) {
        (void)fail(&e, "serve");
        return EXIT_USAGE;
    }
    return serve(&c);
}
