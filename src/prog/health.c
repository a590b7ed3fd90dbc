#include "prog/health.h"

#include "base/limits.h"
#include "base/log.h"
#include "http/http.h"
#include "sys/metric.h"

static void healthz(struct http_request *r, void *arg)
{
    (void)arg;
    http_answer(r, 200, "text/plain", str_bytes(STR("ok\n")));
}

/* Can an image be taken now?  The database answers and the disk has room. */
static void readyz(struct http_request *r, void *arg)
{
    struct health      *h = arg;
    struct errmsg       e = {0};
    struct index_counts c;
    uint64_t            room = 0;
    struct db          *db = db_pool_take(archive_db(h->archive), &e);
    enum err            rc = db == NULL ? e.code : index_count(db, 0, &c, &e);
    db_pool_give(archive_db(h->archive), db);
    rc = rc == ERR_OK ? archive_space(h->archive, &room, &e) : rc;
    if (rc == ERR_OK && room < LIMIT_PREALLOC_MIN) {
        rc = err_set(&e, ERR_LIMIT, "the disk is full");
    }
    if (rc == ERR_OK) {
        http_answer(r, 200, "text/plain", str_bytes(STR("ready\n")));
    } else {
        http_error(r, 503, "not_ready", "%s", e.text);
    }
}

static void put(struct buf *b, const char *name, const char *kind, unsigned long long v)
{
    buf_fmt(b, "# TYPE garonne_%s %s\ngaronne_%s %llu\n", name, kind, name, v);
}

static void metrics(struct http_request *r, void *arg)
{
    struct health               *h = arg;
    struct archive_stats         a;
    struct scp_stats            *s = &h->scp->stats;
    struct pixel_stats           p = {0};
    uint64_t                     room = 0;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_VALUE);
    archive_get_stats(h->archive, &a);
    if (h->scp->pixel != NULL) {
        pixel_get_stats(h->scp->pixel, &p);
    }
    (void)archive_space(h->archive, &room, NULL);

    const struct {
        const char        *name, *kind;
        unsigned long long v;
    } rows[] = {
        {"images_stored_total", "counter", a.stored},
        {"images_duplicate_total", "counter", a.duplicates},
        {"images_quarantined_total", "counter", a.quarantined},
        {"images_aborted_total", "counter", a.aborted},
        {"bytes_stored_total", "counter", a.bytes},
        {"packs_sealed_total", "counter", a.sealed},
        {"images_recompressed_total", "counter", a.recompressed},
        {"packs_open", "gauge", (unsigned long long)a.open_packs},
        {"disk_free_bytes", "gauge", room},
        {"associations_open", "gauge", (unsigned long long)s->open},
        {"associations_total", "counter", s->associations},
        {"associations_rejected_total", "counter", s->rejected},
        {"associations_aborted_total", "counter", s->aborted},
        {"stores_total", "counter", s->stores},
        {"store_failures_total", "counter", s->store_failures},
        {"finds_total", "counter", s->finds},
        {"find_answers_total", "counter", s->find_answers},
        {"moves_total", "counter", s->moves},
        {"gets_total", "counter", s->gets},
        {"suboperations_total", "counter", s->suboperations},
        {"suboperation_failures_total", "counter", s->suboperation_failures},
        {"echoes_total", "counter", s->echoes},
        {"pixel_frames_total", "counter", p.frames},
        {"pixel_failures_total", "counter", p.failed},
        {"pixel_crashes_total", "counter", p.crashed},
        {"pixel_timeouts_total", "counter", p.timeouts},
        {"pixel_workers", "gauge", p.workers},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put(&b, rows[i].name, rows[i].kind, rows[i].v);
    }
    metric_write(&b);
    http_answer_buf(r, 200, "text/plain; version=0.0.4", &b);
}

size_t health_routes(struct health *h, struct http_route to[HEALTH_ROUTES])
{
    to[0] = (struct http_route){.method = HTTP_GET, .pattern = "/healthz", .handle = healthz};
    to[1] = (struct http_route){
        .method = HTTP_GET, .blocking = true, .pattern = "/readyz", .handle = readyz, .arg = h};
    to[2] = (struct http_route){
        .method = HTTP_GET, .blocking = true, .pattern = "/metrics", .handle = metrics, .arg = h};
    return HEALTH_ROUTES;
}
