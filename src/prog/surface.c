#include "prog/surface.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "base/limits.h"
#include "dicomweb/feed.h"
#include "dicomweb/upload.h"
#include "dicomweb/web.h"
#include "prog/health.h"

struct surface {
    struct health       health;
    struct web          web;
    struct access      *access;
    struct api         *api;
    struct http_server *server; // NULL: off
    struct http_route   routes[HEALTH_ROUTES + WEB_ROUTES + API_ROUTES];
    char                where[CONF_TEXT];
};

static size_t all_routes(struct surface *s)
{
    size_t n = health_routes(&s->health, s->routes);
    n += web_routes(&s->web, s->routes + n);
    n += api_routes(s->api, s->routes + n); // last: it takes every path
    return n;
}

/*
 * The pages as installed (PREFIX/share/garonne/web) or, of a build tree, in the source's web/dist.
 * NULL: neither is there.
 */
static const char *web_folder(const struct conf *c, char to[PATH_MAX])
{
    static const char *const places[] = {"../share/garonne/web", "../../../web/dist"};
    char                     exe[PATH_MAX / 2];
    ssize_t                  n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (c->http.web[0] != '\0') {
        return c->http.web;
    }
    while (n > 0 && exe[n - 1] != '/') {
        n--;
    }
    for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        struct stat st;
        (void)snprintf(to, PATH_MAX, "%.*s%s", (int)n, exe, places[i]);
        if (stat(to, &st) == 0 && S_ISDIR(st.st_mode)) {
            return to;
        }
    }
    return NULL;
}

static enum err listen_there(struct surface *s, const struct conf *c, struct errmsg *e)
{
    struct http_conf hc = {.listen = str_of(c->http.listen),
                           .threads = c->http.threads,
                           .connections = c->http.connections};
    enum err         rc = http_start(&hc, s->routes, all_routes(s), &s->server, e);
    if (rc == ERR_OK) {
        int host = (int)(strrchr(c->http.listen, ':') - c->http.listen);
        (void)snprintf(s->where, sizeof(s->where), "%.*s:%u", host, c->http.listen,
                       http_port(s->server));
    }
    return rc;
}

enum err surface_start(const struct conf *c, struct archive *a, struct scp *scp,
                       struct surface **ret, struct errmsg *e)
{
    struct surface *s = calloc(1, sizeof(*s)); // allow-banned: surface_stop
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the web surface");
    }
    *ret = s;
    (void)snprintf(s->where, sizeof(s->where), "off");
    enum err rc = access_new(archive_db(a), &s->access, e);
    if (rc != ERR_OK || c->http.listen[0] == '\0') {
        return rc;
    }
    s->health = (struct health){.archive = a, .scp = scp};
    s->web.archive = a;
    s->web.access = s->access;
    s->web.pixel = scp->pixel;
    s->web.zone_minutes = scp->zone_minutes;
    s->web.cors = str_of(c->http.cors);
    char            folder[PATH_MAX];
    struct api_conf ac = {.archive = a,
                          .access = s->access,
                          .web = web_folder(c, folder),
                          .zone_minutes = scp->zone_minutes};
    rc = api_start(&ac, &s->api, e);
    rc = rc == ERR_OK ? feeds_new(&s->web.feeds, e) : rc;
    rc = rc == ERR_OK ? uploads_new(&s->web.uploads, e) : rc;
    return rc == ERR_OK ? listen_there(s, c, e) : rc;
}

const char *surface_where(const struct surface *s)
{
    return s->where;
}

void surface_stop(struct surface *s)
{
    if (s == NULL) {
        return;
    }
    if (s->api != NULL) {
        api_quit(s->api); // its streams would not end by themselves
    }
    uploads_stop(s->web.uploads, deadline_in_ms(LIMIT_DRAIN_MS));
    feeds_stop(s->web.feeds, deadline_in_ms(LIMIT_DRAIN_MS));
    if (s->server != NULL) {
        http_stop(s->server, deadline_in_ms(LIMIT_DRAIN_MS));
    }
    uploads_free(s->web.uploads);
    feeds_free(s->web.feeds);
    api_free(s->api);
    access_free(s->access);
    free(s);
}
