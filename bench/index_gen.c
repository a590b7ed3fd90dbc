/*
 * A region's studies, straight into an index: no images.
 *
 *   index_gen URL STUDIES TENANTS     e.g. index_gen sqlite:/tmp/i.sqlite 1000000 57
 *
 * Tenants differ in size as hospitals do (the largest of 57 has a seventh of all), patients
 * have 2.5 studies each, names follow a French frequency, dates lie in eight years.  The same
 * arguments make the same data.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "dicom/tags.h"
#include "index/index.h"

enum { BATCH = 500, SURNAMES = 6000, GIVEN = 400, DOCTORS = 250 };

struct gen {
    struct db   *db;
    uint64_t     dice;
    int64_t     *tenants;
    double      *weight; // running sum
    size_t       n_tenants;
    int64_t      first, last; // studies of this batch
    struct arena a;
};

static uint64_t roll(struct gen *g, uint64_t n)
{
    g->dice ^= g->dice << 13; // xorshift64
    g->dice ^= g->dice >> 7;
    g->dice ^= g->dice << 17;
    return (g->dice >> 11) % n;
}

/* Small numbers more often: 1/sqrt, as surnames are. */
static uint64_t roll_low(struct gen *g, uint64_t n)
{
    uint64_t a = roll(g, n), b = roll(g, n);
    return a < b ? a : b;
}

/* A pronounceable name of a number. */
static void name_of(uint64_t n, char to[32])
{
    static const char *const starts[] = {
        "MAR", "DU",  "BER", "LE",  "RO",  "PET", "GI",  "FON", "CHA", "VIL", "MON", "BON",
        "SAU", "DEL", "LA",  "TOU", "GAR", "FAU", "RIV", "MEU", "BLA", "GUE", "COL", "PER",
        "BOU", "CAR", "DA",  "REN", "SIM", "AUB", "HEN", "JAC", "NIC", "OLI", "VAS", "MAT",
        "THO", "ROB", "RIC", "DUR", "MOR", "LEF", "FOU", "GIR", "AND", "MER", "LAM", "BRU"};
    static const char *const syllables[] = {"MAR", "DU",  "BER", "LE",  "RO",  "PET", "GI", "FON",
                                            "CHA", "VIL", "MON", "BON", "SAU", "DEL", "LA", "TOU"};
    static const char *const ends[] = {"TIN",  "PONT", "NARD", "ROUX",
                                       "BERT", "IT",   "RARD", "TAINE"};

    size_t len = (size_t)snprintf(to, 32, "%s", starts[n % 48]);
    for (uint64_t k = n / 384; k > 0; k /= 16) {
        len += (size_t)snprintf(to + len, 32 - len, "%s", syllables[k % 16]);
    }
    (void)snprintf(to + len, 32 - len, "%s", ends[n / 48 % 8]);
}

static void put(struct dset *d, uint32_t tag, const char *text)
{
    if (dset_put_text(d, tag, str_of(text)) != ERR_OK) {
        abort();
    }
}

struct person {
    char id[16], name[80], birth[12], sex[2];
};

static void person_of(uint64_t n, struct person *p)
{
    struct gen g = {.dice = n * 0x9E3779B97F4A7C15U + 1};
    char       surname[32], given[32];
    (void)roll(&g, 2);
    name_of(roll_low(&g, SURNAMES), surname);
    name_of(roll_low(&g, GIVEN), given);
    (void)snprintf(p->id, sizeof(p->id), "%08" PRIu64, n);
    (void)snprintf(p->name, sizeof(p->name), "%s^%s", surname, given);
    (void)snprintf(p->birth, sizeof(p->birth), "%04d%02d%02d", (int)(1930 + roll(&g, 90)),
                   (int)(1 + roll(&g, 12)), (int)(1 + roll(&g, 28)));
    (void)snprintf(p->sex, sizeof(p->sex), "%s", roll(&g, 2) == 0 ? "M" : "F");
}

static const struct kind {
    const char *modality, *class_uid, *description;
    unsigned    weight, series, images;
} kinds[] = {
    {"DX", "1.2.840.10008.5.1.4.1.1.1.1", "Thorax face", 45, 1, 1},
    {"CT", "1.2.840.10008.5.1.4.1.1.2", "Scanner thoraco-abdomino-pelvien", 20, 3, 400},
    {"MR", "1.2.840.10008.5.1.4.1.1.4", "IRM enc\xC3\xA9phalique", 12, 6, 60},
    {"US", "1.2.840.10008.5.1.4.1.1.6.1",
     "\xC3\x89"
     "chographie abdominale",
     12, 1, 20},
    {"MG", "1.2.840.10008.5.1.4.1.1.1.2", "Mammographie", 8, 1, 4},
    {"NM", "1.2.840.10008.5.1.4.1.1.20", "Scintigraphie osseuse", 2, 2, 2},
    {"PT", "1.2.840.10008.5.1.4.1.1.128", "TEP corps entier", 1, 2, 300},
};

static const struct kind *kind_at(uint64_t percent)
{
    size_t i = 0;
    for (uint64_t sum = kinds[0].weight; sum <= percent; sum += kinds[i].weight) {
        i++;
    }
    return &kinds[i];
}

static size_t tenant_at(const struct gen *g, double x)
{
    size_t i = 0;
    while (i + 1 < g->n_tenants && g->weight[i] < x * g->weight[g->n_tenants - 1]) {
        i++;
    }
    return i;
}

static void study_header(struct gen *g, struct dset *d, int64_t n, const struct kind *k,
                         uint64_t tenant)
{
    struct person p;
    char          text[80], doctor[32];
    person_of(tenant << 32 | roll(g, 400000), &p);
    put(d, DT_SpecificCharacterSet, "ISO_IR 192");
    put(d, DT_PatientID, p.id);
    put(d, DT_PatientName, p.name);
    put(d, DT_PatientBirthDate, p.birth);
    put(d, DT_PatientSex, p.sex);
    (void)snprintf(text, sizeof(text), "1.2.826.0.1.3680043.8.498.4502.%" PRId64 ".%08" PRIu64, n,
                   roll(g, 100000000));
    put(d, DT_StudyInstanceUID, text);
    (void)snprintf(text, sizeof(text), "%04d%02d%02d", (int)(2018 + roll(g, 8)),
                   (int)(1 + roll(g, 12)), (int)(1 + roll(g, 28)));
    put(d, DT_StudyDate, text);
    put(d, DT_SeriesDate, text);
    (void)snprintf(text, sizeof(text), "%02d%02d%02d", (int)(7 + roll(g, 13)), (int)roll(g, 60),
                   (int)roll(g, 60));
    put(d, DT_StudyTime, text);
    put(d, DT_SeriesTime, text);
    (void)snprintf(text, sizeof(text), "A%09" PRId64, n);
    put(d, DT_AccessionNumber, text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, 100000 + roll(g, 900000));
    put(d, DT_StudyID, text);
    put(d, DT_StudyDescription, k->description);
    name_of(tenant * DOCTORS + roll(g, DOCTORS), doctor);
    (void)snprintf(text, sizeof(text), "%s^DR", doctor);
    put(d, DT_ReferringPhysicianName, text);
    put(d, DT_PatientAge, "050Y");
}

static enum err one_series(struct gen *g, struct dset *d, const struct kind *k, int64_t tenant_id,
                           unsigned i, struct errmsg *e)
{
    char text[80];
    (void)snprintf(text, sizeof(text), "1.2.826.0.1.3680043.8.498.77.%012" PRIu64 ".%u",
                   roll(g, UINT64_C(1000000000000)), i);
    put(d, DT_SeriesInstanceUID, text);
    (void)snprintf(text, sizeof(text), "%u", i + 1);
    put(d, DT_SeriesNumber, text);
    put(d, DT_SOPClassUID, k->class_uid);
    put(d, DT_Modality, k->modality);
    put(d, DT_SeriesDescription, "Axial 1 mm");
    put(d, DT_BodyPartExamined, "CHEST");
    put(d, DT_ProtocolName, "Protocole de routine");
    put(d, DT_StationName, "STATION1");
    put(d, DT_InstitutionName, "CHU de la r\xC3\xA9gion");
    put(d, DT_Manufacturer, "MAKER");
    put(d, DT_ManufacturerModelName, "Model 7");
    struct series_ids ids = {0};
    enum err          rc = index_file(g->db, tenant_id, d, &ids, e);
    struct pack_row   p = {.tenant_id = tenant_id, .series_id = ids.series_id, .n = 1};
    int64_t           id = 0;
    p.state = PACK_SEALED;
    p.images = k->images;
    p.bytes = (uint64_t)k->images * 525000;
    p.manifest_at = p.bytes - 100000;
    p.manifest_len = 40000;
    p.metadata_at = p.bytes - 60000;
    p.metadata_len = 50000;
    p.sha256 = STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    return rc != ERR_OK ? rc : pack_row_add(g->db, &p, &id, e);
}

static enum err batch(struct db *db, void *arg, struct errmsg *e)
{
    struct gen *g = arg;
    (void)db;
    for (int64_t n = g->first; n < g->last; n++) {
        g->dice = (uint64_t)n * 0x9E3779B97F4A7C15U + 12345;
        arena_done(&g->a);
        arena_init(&g->a, 1 << 20);
        (void)roll(g, 2);
        size_t             t = tenant_at(g, (double)roll(g, 1000000) / 1e6);
        const struct kind *k = kind_at(roll(g, 100));
        struct dset       *d = dset_new(&g->a);
        if (d == NULL) {
            return ERR_NOMEM;
        }
        study_header(g, d, n, k, t);
        for (unsigned i = 0; i < k->series; i++) {
            enum err rc = one_series(g, d, k, g->tenants[t], i, e);
            if (rc != ERR_OK) {
                return rc;
            }
        }
    }
    return ERR_OK;
}

static enum err make_tenants(struct gen *g, struct errmsg *e)
{
    enum err rc = index_migrate(g->db, e);
    double   sum = 0;
    for (size_t i = 0; i < g->n_tenants && rc == ERR_OK; i++) {
        char code[32];
        (void)snprintf(code, sizeof(code), "T%zu", i);
        struct tenant t = {.code = str_of(code), .name = STR("Hospital"), .aet = str_of(code)};
        sum += 1 / (double)(i + 2);
        g->weight[i] = sum;
        rc = tenant_add(g->db, &t, &g->tenants[i], e);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct errmsg   e = {0};
    struct db_pool *pool = NULL;
    uint64_t        studies = 0, tenants = 0;
    if (argc != 4 || !parse_u64(str_of(argv[2]), &studies) ||
        !parse_u64(str_of(argv[3]), &tenants) || tenants > 10000) {
        (void)fprintf(stderr, "usage: index_gen URL STUDIES TENANTS\n");
        return 2;
    }
    struct gen g = {.n_tenants = (size_t)tenants};
    g.tenants = calloc(g.n_tenants + 1, sizeof(*g.tenants));
    g.weight = calloc(g.n_tenants + 1, sizeof(*g.weight));
    arena_init(&g.a, 1 << 20);
    enum err rc = db_pool_new(argv[1], 1, &pool, &e);
    g.db = rc == ERR_OK ? db_pool_take(pool, &e) : NULL;
    rc = g.db == NULL || g.tenants == NULL || g.weight == NULL ? ERR_IO : make_tenants(&g, &e);
    int64_t t = clock_mono_ns();
    for (uint64_t n = 0; n < studies && rc == ERR_OK; n += BATCH) {
        g.first = (int64_t)n;
        g.last = (int64_t)(n + BATCH < studies ? n + BATCH : studies);
        rc = db_tx(g.db, batch, &g, &e);
    }
    double s = (double)(clock_mono_ns() - t) / 1e9;
    (void)printf("{\"studies\":%" PRIu64 ",\"seconds\":%.1f}\n", studies, s);
    if (rc != ERR_OK) {
        (void)fprintf(stderr, "%s: %s\n", err_name(rc), e.text);
    }
    db_pool_give(pool, g.db);
    db_pool_free(pool);
    arena_done(&g.a);
    free(g.tenants);
    free(g.weight);
    return rc == ERR_OK ? 0 : 1;
}
