/* garonne bench: a load generator and meter for any DICOM node: C-STORE of generated CT images, or
 * C-ECHO, on several associations. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "dicom/tags.h"
#include "dimse/assoc.h"
#include "prog/cli.h"
#include "sys/worker.h"

static const char help[] =
    "usage: garonne bench HOST PORT [--called TITLE] [--calling TITLE] [--op store|echo] "
    "[--associations N] [--images N]\n"
    "                     [--size BYTES] [--series N: images of each series] [--json]";

enum { MAX_THREADS = 512 };

struct load {
    const char *host, *called, *calling;
    uint16_t    port;
    bool        store;
    uint32_t    images, size, per_series; // of each association
    char        study[65];
};

struct runner {
    const struct load *l;
    pthread_t          thread;
    uint32_t           done, refused;
    int64_t           *ns; // owned: time of each message
    struct errmsg      e;
};

static const struct str CT = {"1.2.840.10008.5.1.4.1.1.2", 25},
                        VERIFICATION = {"1.2.840.10008.1.1", 17},
                        EXPLICIT = {"1.2.840.10008.1.2.1", 19};

struct image_ids {
    struct str series, sop;
    uint32_t   number;
};

/* A CT image of about the wanted size: the header of one, pixels of a ramp. */
static enum err make_image(const struct load *l, const struct image_ids *ids, struct arena *a,
                           struct buf *out, struct errmsg *e)
{
    struct dset *d = dset_new(a);
    uint32_t     side = 16;
    while ((side + 16) * (side + 16) * 2 <= l->size) {
        side += 16;
    }
    size_t   len = (size_t)side * side * 2;
    uint8_t *pixels = arena_alloc(a, len, 1);
    if (d == NULL || pixels == NULL) {
        return err_set(e, ERR_NOMEM, "image");
    }
    for (size_t i = 0; i < len; i++) {
        pixels[i] = (uint8_t)(i % 2 == 0 ? (i * 7 + ids->number) : i / 4096 % 8);
    }

    const struct {
        uint32_t   tag;
        struct str v;
    } texts[] = {
        {DT_SOPClassUID, CT},
        {DT_SOPInstanceUID, ids->sop},
        {DT_StudyDate, STR("20260101")},
        {DT_StudyTime, STR("120000")},
        {DT_Modality, STR("CT")},
        {DT_PatientName, STR("BENCH^GARONNE")},
        {DT_PatientID, STR("BENCH")},
        {DT_StudyInstanceUID, str_of(l->study)},
        {DT_SeriesInstanceUID, ids->series},
        {DT_PhotometricInterpretation, STR("MONOCHROME2")},
    };

    const struct {
        uint32_t tag;
        uint16_t v;
    } words[] = {{DT_SamplesPerPixel, 1},      {DT_Rows, (uint16_t)side},
                 {DT_Columns, (uint16_t)side}, {DT_BitsAllocated, 16},
                 {DT_BitsStored, 16},          {DT_HighBit, 15},
                 {DT_PixelRepresentation, 0}};
    enum err rc = dset_put_int(d, DT_InstanceNumber, ids->number);
    for (size_t i = 0; rc == ERR_OK && i < sizeof(texts) / sizeof(texts[0]); i++) {
        rc = dset_put_str(d, texts[i].tag, texts[i].v);
    }
    for (size_t i = 0; rc == ERR_OK && i < sizeof(words) / sizeof(words[0]); i++) {
        rc = dset_put_u16(d, words[i].tag, words[i].v);
    }
    rc = rc == ERR_OK ? dset_put(d, DT_PixelData, VR_OW, (struct bytes){pixels, len}) : rc;
    return rc == ERR_OK ? dset_write(d, &SYNTAX_EXPLICIT, false, out, e) : err_set(e, rc, "image");
}

static enum err exchange(struct assoc *as, const struct load *l, struct str sop,
                         const struct bytes *data, struct cmd *ret, struct errmsg *e)
{
    const struct assoc_ctx *x = assoc_ctx_for(as, l->store ? CT : VERIFICATION, STR(""));
    struct cmd              q = {.field = l->store ? C_STORE_RQ : C_ECHO_RQ,
                                 .message_id = assoc_next_id(as),
                                 .class_uid = l->store ? CT : VERIFICATION,
                                 .sop_uid = sop,
                                 .has_data = l->store};
    uint8_t                 context;
    if (x == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "the node accepts no CT images");
    }
    enum err rc = msg_send(as, x->id, &q, data, e);
    return rc == ERR_OK ? msg_recv(as, ret, &context, e) : rc;
}

static enum err one(struct runner *r, struct assoc *as, struct str series, uint32_t i,
                    struct errmsg *e)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, (size_t)r->l->size * 4 + LIMIT_VALUE);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, (size_t)r->l->size * 2 + LIMIT_VALUE);
    char       sop[65];
    struct cmd answer = {0};
    uid_new(sop);
    struct image_ids ids = {series, str_of(sop), i + 1};
    enum err         rc = r->l->store ? make_image(r->l, &ids, &a, &b, e) : ERR_OK;
    struct bytes     data = {b.ptr, b.len};
    int64_t          t0 = clock_mono_ns();
    rc = rc == ERR_OK ? exchange(as, r->l, r->l->store ? str_of(sop) : STR(""),
                                 r->l->store ? &data : NULL, &answer, e)
                      : rc;
    if (rc == ERR_OK) {
        r->ns[r->done++] = clock_mono_ns() - t0;
        r->refused += answer.status != 0 ? 1 : 0;
    }
    return rc;
}

static void run(void *arg)
{
    struct runner   *r = arg;
    struct sock     *s;
    struct assoc    *as = NULL;
    struct assoc_ctx ctx[] = {
        {.abstract = VERIFICATION, .syntaxes = (struct str *)&EXPLICIT, .n_syntaxes = 1},
        {.abstract = CT, .syntaxes = (struct str *)&EXPLICIT, .n_syntaxes = 1}};
    struct assoc_pdu rq = {
        .called = str_of(r->l->called), .calling = str_of(r->l->calling), .ctx = ctx, .n_ctx = 2};
    struct assoc_conf conf = {0};
    char              series[65];
    enum err          rc =
        sock_connect(str_of(r->l->host), r->l->port, deadline_in_ms(LIMIT_ARTIM_MS), &s, &r->e);
    rc = rc == ERR_OK ? assoc_connect(s, &conf, &rq, &as, &r->e) : rc;
    for (uint32_t i = 0; rc == ERR_OK && i < r->l->images; i++) {
        if (i % r->l->per_series == 0) {
            uid_new(series);
        }
        rc = one(r, as, str_of(series), i, &r->e);
    }
    if (rc == ERR_OK) {
        (void)assoc_release(as, &r->e);
    }
    assoc_free(as);
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static int report(struct runner *r, uint32_t n, double seconds, bool json)
{
    const struct load *l = r[0].l;
    uint64_t           done = 0, refused = 0, failed = 0;
    int64_t *all = calloc((size_t)n * l->images + 1, sizeof(*all)); // allow-banned: freed below
    for (uint32_t i = 0; all != NULL && i < n; i++) {
        memcpy(all + done, r[i].ns, r[i].done * sizeof(*all));
        done += r[i].done;
        refused += r[i].refused;
        if (r[i].e.code != ERR_OK) {
            failed++;
            (void)fprintf(stderr, "garonne: association %u: %s\n", i + 1, r[i].e.text);
        }
    }
    if (all == NULL || done == 0) {
        free(all);
        return EXIT_FAILED;
    }
    qsort(all, done, sizeof(*all), by_time);
    double rate = (double)done / seconds, mb = l->store ? rate * l->size / 1e6 : 0;
    size_t mid = done / 2, high = done * 95 / 100;
    double p50 = (double)all[mid] / 1e6, p95 = (double)all[high] / 1e6,
           max = (double)all[done - 1] / 1e6;
    (void)printf(
        json ? "{\"messages\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"mb_per_second\":%.1f,"
               "\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"max_ms\":%.3f,\"refused\":%llu,\"failed\":%llu}\n"
             : "%llu messages in %.2f s: %.1f images/s, %.1f MB/s; p50 %.2f ms, p95 %.2f ms, max "
               "%.2f ms; %llu refused, %llu associations failed\n",
        (unsigned long long)done, seconds, rate, mb, p50, p95, max, (unsigned long long)refused,
        (unsigned long long)failed);
    free(all);
    return refused == 0 && failed == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run_all(const struct load *l, uint32_t n, bool json)
{
    struct runner *r = calloc(n, sizeof(*r)); // allow-banned: freed below
    uint32_t       started = 0;
    bool           good = r != NULL;
    int64_t        t0 = clock_mono_ns();
    for (; good && started < n; started++) {
        r[started].l = l;
        r[started].ns = calloc(l->images, sizeof(int64_t)); // allow-banned: freed below
        good = r[started].ns != NULL &&
               worker_run("bench", run, &r[started], &r[started].thread, &r[started].e) == ERR_OK;
        if (!good) {
            free(r[started].ns);
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        (void)pthread_join(r[i].thread, NULL);
    }
    int rc =
        started > 0 ? report(r, started, (double)(clock_mono_ns() - t0) / 1e9, json) : EXIT_FAILED;
    for (uint32_t i = 0; i < started; i++) {
        free(r[i].ns);
    }
    free(r);
    return good ? rc : EXIT_FAILED;
}

int cmd_bench(int argc, char **argv)
{
    struct load l = {.called = "ANY-SCP", .calling = "GARONNE"};
    const char *op = "store", *associations = "1", *images = "100", *size = "524288",
               *series = "100";
    bool             json = false;
    const struct opt opts[] = {
        {"--called", &l.called, NULL}, {"--calling", &l.calling, NULL},
        {"--op", &op, NULL},           {"--associations", &associations, NULL},
        {"--images", &images, NULL},   {"--size", &size, NULL},
        {"--series", &series, NULL},   {"--json", NULL, &json}};
    int      n = 0;
    uint32_t threads, port;
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n != 2 ||
        (strcmp(op, "store") != 0 && strcmp(op, "echo") != 0)) {
        return usage(help);
    }
    if (!opt_u32("PORT", argv[2], UINT16_MAX, &port) ||
        !opt_u32("--associations", associations, MAX_THREADS, &threads) ||
        !opt_u32("--images", images, 10000000, &l.images) ||
        !opt_u32("--size", size, 64 << 20, &l.size) ||
        !opt_u32("--series", series, 1000000, &l.per_series) || threads == 0 || l.images == 0 ||
        l.per_series == 0) {
        return EXIT_USAGE;
    }
    l.host = argv[1];
    l.port = (uint16_t)port;
    l.store = strcmp(op, "store") == 0;
    uid_new(l.study);
    return run_all(&l, threads, json);
}
