#include <fcntl.h>

#include "archive/registry.h"
#include "archive/testkit.h"
#include "base/limits.h"

static int setup(void **state)
{
    struct kit *k = calloc(1, sizeof(*k));
    kit_init(k);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    struct kit *k = *state;
    kit_done(k);
    free(k);
    return 0;
}

/* ---- what the index says, without its numbers */

static const char TENANTS[] = "SELECT code, name, aet, services, recompress FROM tenant ORDER BY 1";
static const char PEERS[] = "SELECT code, peer.aet, host, port, cert, tls, charset FROM peer "
                            "JOIN tenant ON tenant.tenant_id = peer.tenant_id ORDER BY 1, 2";
static const char PATIENTS[] =
    "SELECT code, ident, newest, pid, issuer, patient.name, birth_date, sex, more, pid_key, "
    "name_key, alt FROM patient JOIN tenant ON tenant.tenant_id = patient.tenant_id ORDER BY 1, 2";
static const char STUDIES[] =
    "SELECT code, uid, ident, study_date, study_time, n_series, n_images, modalities, sop_classes, "
    "study.pid, study.name, accession, description, study.more, study.name_key FROM study "
    "JOIN tenant ON tenant.tenant_id = study.tenant_id "
    "JOIN patient ON patient.patient_id = study.patient_id ORDER BY 1, 2";
static const char SERIES[] =
    "SELECT code, study.uid, series.uid, series.n_images, sop_class, modality, number, pps_date, "
    "series.more FROM series JOIN study ON study.study_id = series.study_id "
    "JOIN tenant ON tenant.tenant_id = series.tenant_id ORDER BY 1, 2, 3";
static const char PACKS[] =
    "SELECT code, series.uid, n, state, bytes, images, manifest_at, manifest_len, metadata_at, "
    "metadata_len, sha256 FROM pack JOIN series ON series.series_id = pack.series_id "
    "JOIN tenant ON tenant.tenant_id = pack.tenant_id ORDER BY 1, 2, 3";
static const char SHELF[] =
    "SELECT code, study_uid, series_uid, sop_uid, path, calling, received_us, bytes "
    "FROM quarantine JOIN tenant ON tenant.tenant_id = quarantine.tenant_id ORDER BY 1, 5";

static void dump(struct kit *k, struct buf *out)
{
    static const struct {
        const char *sql;
        int         columns;
    } tables[] = {{TENANTS, 4}, {PEERS, 7},  {PATIENTS, 12}, {STUDIES, 15},
                  {SERIES, 9},  {PACKS, 11}, {SHELF, 8}};

    struct db *db = db_pool_take(archive_db(k->a), NULL);
    buf_clear(out);
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        auto_stmt *q = db_query(db, tables[t].sql);
        while (db_step(q)) {
            for (int i = 0; i < tables[t].columns; i++) {
                buf_str(out, db_col_str(q, i));
                buf_u8(out, '|');
            }
            buf_u8(out, '\n');
        }
        kit_ok(db_end(q, &kit_e));
    }
    db_pool_give(archive_db(k->a), db);
    buf_u8(out, 0);
    assert_int_equal(out->err, ERR_OK);
}

static void forget_index(struct kit *k)
{
    char path[128];
    kit_close(k);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/index.sqlite%s", k->data, ends[i]);
        (void)unlink(path);
    }
    kit_open(k);
}

static void peers_add(struct kit *k)
{
    struct peer p[2] = {
        {.tenant_id = k->from[0].tenant_id,
         .aet = STR("CT1"),
         .host = STR("192.0.2.1"),
         .port = 104,
         .cert = STR(""),
         .charset = STR("ISO_IR 100")},
        {.tenant_id = k->from[1].tenant_id,
         .aet = STR("CT1"),
         .host = STR(""),
         .cert = STR("00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"),
         .tls = true,
         .charset = STR("")}};
    struct db *db = db_pool_take(archive_db(k->a), NULL);
    for (size_t i = 0; i < 2; i++) {
        int64_t id = 0;
        kit_ok(peer_add(db, &p[i], &id, &kit_e));
    }
    db_pool_give(archive_db(k->a), db);
    kit_ok(archive_registry_write(k->a, &kit_e));
}

/* Two tenants with the same UIDs, several packs a series, several classes in one, patients who are
 * named differently, sealed and open packs, conflicts. */
static void fill(struct kit *k)
{
    static const char *const names[] = {"DUPONT^ANNE", "DUPOND^ANNE", "MARTIN^JEAN"};
    enum ingest_outcome      how = INGEST_STORED;
    struct kit_object        o = {.pixels = 3000};
    peers_add(k);
    for (unsigned i = 0; i < 60; i++) {
        o.study = 60 + i % 3;
        o.series = i % 5;
        o.image = 60 - i;
        o.patient = names[i % 3];
        o.cls = i % 5 == 1 && i > 30 ? "1.2.840.10008.5.1.4.1.1.4" : NULL;
        o.ballast = i % 5 == 2 ? 100000 : 0;
        kit_ok(kit_send(k, i % 2, &o, 10000, &how, &kit_e));
        assert_int_equal(how, INGEST_STORED);
        if (i == 20) {
            kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
        }
        if (i % 20 == 7) {
            struct kit_object p = o;
            p.salt = 3;
            kit_ok(kit_send(k, i % 2, &p, 10000, &how, &kit_e));
            assert_int_equal(how, INGEST_QUARANTINED);
        }
    }
    kit_ok(archive_count(k->a, &kit_e));
}

static void a_lost_index_comes_back(void **state)
{
    struct kit                  *k = *state;
    CLEANUP(buf_done) struct buf before;
    CLEANUP(buf_done) struct buf after;
    struct reindex_stats         s;
    buf_init(&before, 16 << 20);
    buf_init(&after, 16 << 20);
    fill(k);
    dump(k, &before);
    forget_index(k);
    kit_ok(archive_reindex(k->a, kit_note, k, &s, &kit_e));
    assert_int_equal(s.failed, 0);
    assert_int_equal(s.tenants, 2);
    assert_int_equal(s.peers, 2);
    assert_int_equal(s.images, 60);
    assert_int_equal(k->notes, 0);
    dump(k, &after);
    assert_string_equal(before.ptr, after.ptr);
    for (int i = 0; i < 2; i++) { // again: nothing changes; then as a restart finds it
        kit_ok(archive_reindex(k->a, kit_note, k, &s, &kit_e));
        dump(k, &after);
        assert_string_equal(before.ptr, after.ptr);
        kit_reopen(k);
    }
    struct kit_object o = {
        .study = 60, .series = 0, .image = 60, .pixels = 3000, .patient = "DUPONT^ANNE"};
    assert_int_equal(kit_has(k, 0, &o), 1);
    struct verify_stats v;
    kit_ok(archive_verify(k->a, kit_note, k, &v, &kit_e));
    assert_int_equal(v.bad, 0);
    assert_int_equal(v.images, 60);
}

/* What the index must be told: packs that came, went, and were sealed behind its back. */
static void an_index_that_is_behind_catches_up(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(buf_done) struct buf     before;
    CLEANUP(buf_done) struct buf     after;
    CLEANUP(arena_done) struct arena mem;
    struct reindex_stats             s;
    char                             copy[600];
    buf_init(&before, 16 << 20);
    buf_init(&after, 16 << 20);
    arena_init(&mem, 16 << 20);
    fill(k);
    kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
    dump(k, &before);
    const struct kit_object gone = {.study = 60, .series = 1};
    struct object          *x = NULL;
    assert_true(kit_list(k, 0, &gone, &mem, &x) > 0);
    (void)snprintf(copy, sizeof(copy), "%s/away", k->data);
    assert_int_equal(rename(x[0].path, copy), 0);
    kit_ok(archive_reindex(k->a, kit_note, k, &s, &kit_e));
    assert_int_equal(k->notes, 1);
    dump(k, &after);
    assert_string_not_equal(before.ptr, after.ptr);
    assert_int_equal(rename(copy, x[0].path), 0);
    kit_ok(archive_reindex(k->a, kit_note, k, &s, &kit_e));
    assert_int_equal(s.failed, 0);
    dump(k, &after);
    assert_string_equal(before.ptr, after.ptr);
}

static void reindex_disturbs_no_server(void **state)
{
    struct kit                  *k = *state;
    CLEANUP(buf_done) struct buf before;
    CLEANUP(buf_done) struct buf after;
    struct reindex_stats         s;
    struct kit                   other = *k;
    buf_init(&before, 16 << 20);
    buf_init(&after, 16 << 20);
    fill(k); // and stays open with its packs
    dump(k, &before);
    other.conf.recover = false;
    kit_open(&other);
    kit_ok(archive_reindex(other.a, kit_note, k, &s, &kit_e));
    assert_int_equal(s.failed, 0);
    kit_close(&other);
    dump(k, &after);
    assert_string_equal(before.ptr, after.ptr);
    struct kit_object o = {.study = 60, .series = 0, .image = 900, .pixels = 3000};
    kit_store(k, &o);
    kit_ok(archive_count(k->a, &kit_e));
    assert_int_equal(kit_counts(k).images, 61);
}

static void an_unknown_tenant_is_kept_under_its_code(void **state)
{
    struct kit          *k = *state;
    struct reindex_stats s;
    char                 path[128];
    fill(k);
    (void)snprintf(path, sizeof(path), "%s/archive/registry.json", k->data);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0) {
            assert_int_equal(unlink(path), 0);
        } else {
            kit_ok(
                file_commit(path, str_bytes(STR("{\"garonne_registry\":1,\"ten")), 0640, &kit_e));
        }
        forget_index(k);
        kit_ok(archive_reindex(k->a, kit_note, k, &s, &kit_e));
        assert_int_equal(s.tenants, 2);
        assert_int_equal(s.failed, pass);
        assert_int_equal(kit_counts(k).images, 60);
        struct db                       *db = db_pool_take(archive_db(k->a), NULL);
        CLEANUP(arena_done) struct arena mem;
        struct tenant                    t = {0};
        arena_init(&mem, 1 << 20);
        kit_ok(tenant_by_code(db, STR("PURPAN"), &mem, &t, &kit_e));
        assert_true(str_eq(t.aet, STR("?PURPAN")));
        db_pool_give(archive_db(k->a), db);
    }
}

static void what_is_no_pack_is_noted_and_passed(void **state)
{
    struct kit             *k = *state;
    struct reindex_stats    s;
    char                    path[256];
    const struct kit_object o = {.study = 70, .series = 1, .image = 1, .pixels = 3000};
    kit_store(k, &o);
    (void)snprintf(path, sizeof(path), "%s/archive/PURPAN/00/1.2.3", k->data);
    kit_ok(file_make_dirs(path, &kit_e));
    static const char *const names[] = {"1.2.3.4.1.tar", "1.2.3.4.1.tar.open", "1.2.3.4.tar",
                                        "x.0.tar",       "readme.txt",         "1.2.3.5.2.tar"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/archive/PURPAN/00/1.2.3/%s", k->data, names[i]);
        kit_ok(file_commit(path, str_bytes(STR("this is no tar file")), 0640, &kit_e));
    }
    kit_ok(archive_reindex(k->a, kit_note, k, &s, &kit_e));
    assert_int_equal(s.packs, 1);
    assert_true(s.failed >= 2);
    assert_int_equal(kit_counts(k).series, 1);
}

/* ---- verify */

static void flip(const char *path, uint64_t at)
{
    int     fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t b = 0;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &b, 1, (off_t)at), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(fd, &b, 1, (off_t)at), 1);
    (void)close(fd);
}

struct told {
    char     text[4000];
    unsigned n;
};

static void tell(void *ctx, const char *path, const char *what)
{
    struct told *t = ctx;
    size_t       n = strlen(t->text);
    (void)path;
    (void)snprintf(t->text + n, sizeof(t->text) - n, "%s\n", what);
    t->n++;
}

static void verify_names_the_image(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    struct kit_object o = {.study = 80, .series = 1, .pixels = 3000};
    for (o.image = 1; o.image <= 5; o.image++) {
        kit_store(k, &o);
    }
    for (int pass = 0; pass < 2; pass++) { // open, then sealed
        struct verify_stats v;
        struct told         t = {0};
        struct object      *x = NULL;
        assert_int_equal(kit_list(k, 0, &o, &mem, &x), 5);
        kit_ok(archive_verify(k->a, tell, &t, &v, &kit_e));
        assert_int_equal(v.packs, 1);
        assert_int_equal(v.images, 5);
        assert_int_equal(v.bad, 0);
        flip(x[2].path, x[2].image.data_at + 2000);
        kit_ok(archive_verify(k->a, tell, &t, &v, &kit_e));
        assert_true(v.bad > 0);
        assert_non_null(strstr(t.text, x[2].image.sop_uid));
        for (size_t i = 0; i < 5; i++) {
            assert_true(i == 2 || strstr(t.text, x[i].image.sop_uid) == NULL);
        }
        if (pass == 0) { // what is bad is not sealed as if it were good, and tried again later
            size_t n = 0;
            assert_int_not_equal(archive_seal(k->a, 0, &n, NULL), ERR_OK);
            struct archive_stats s;
            archive_get_stats(k->a, &s);
            assert_int_equal(s.seal_failed, 1);
            assert_int_equal(s.open_packs, 1);
            flip(x[2].path, x[2].image.data_at + 2000);
            assert_int_equal(kit_list(k, 0, &o, &mem, &x), 5);
            o.image = 6; // meanwhile the series goes on
            kit_store(k, &o);
            struct kit_object   again = o;
            enum ingest_outcome how = INGEST_STORED;
            again.image = 3;
            kit_ok(kit_send(k, 0, &again, 3000, &how, &kit_e));
            assert_int_equal(how, INGEST_DUPLICATE);
            kit_ok(archive_seal(k->a, 0, &n, &kit_e));
            assert_int_equal(n, 2);
            o.image = 5;
            kit_reopen(k);
            assert_int_equal(kit_list(k, 0, &o, &mem, &x), 6);
            assert_int_equal(unlink(x[5].path), 0);
            kit_ok(archive_reindex(k->a, kit_note, k, &(struct reindex_stats){0}, &kit_e));
        }
    }
}

/* ---- registry.json */

static void the_registry_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct peer peers[2] = {
        {.aet = STR("CT\"1"),
         .host = STR("h\xC3\xB4pital"),
         .port = 65535,
         .cert = STR("ff"),
         .tls = true,
         .charset = STR("ISO_IR 192")},
        {.aet = STR("MR"), .host = STR(""), .cert = STR(""), .charset = STR("")}};
    struct registry_tenant tenants[20] = {{.tenant = {.code = STR("A"),
                                                      .name = STR("H\xC3\xB4"
                                                                  "pital \\ A"),
                                                      .aet = STR("A"),
                                                      .services = 31},
                                           .peers = peers,
                                           .n_peers = 2}};
    for (size_t i = 1; i < 20; i++) {
        tenants[i] = tenants[0];
        tenants[i].n_peers = i % 3;
    }
    const struct registry            r = {.tenants = tenants, .n = 20};
    struct registry                  got = {0};
    CLEANUP(buf_done) struct buf     out;
    CLEANUP(buf_done) struct buf     again;
    CLEANUP(arena_done) struct arena mem;
    buf_init(&out, 1 << 20);
    buf_init(&again, 1 << 20);
    arena_init(&mem, 256 << 20);
    registry_format(&r, &out);
    struct str json = {(const char *)out.ptr, out.len};
    kit_ok(registry_parse(json, &mem, &got, &kit_e));
    assert_int_equal(got.n, 20);
    registry_format(&got, &again);
    assert_int_equal(again.len, out.len);
    assert_memory_equal(again.ptr, out.ptr, out.len);
    for (size_t n = 0; n < json.len - 1; n++) { // the last byte is a line feed
        assert_int_equal(registry_parse((struct str){json.ptr, n}, &mem, &got, NULL), ERR_SYNTAX);
    }
    assert_int_equal(
        registry_parse(STR("{\"garonne_registry\":2,\"tenants\":[]}"), &mem, &got, NULL),
        ERR_UNSUPPORTED);
    assert_int_equal(registry_parse(STR("{}"), &mem, &got, NULL), ERR_UNSUPPORTED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_lost_index_comes_back),
        T(an_index_that_is_behind_catches_up),
        T(reindex_disturbs_no_server),
        T(an_unknown_tenant_is_kept_under_its_code),
        T(what_is_no_pack_is_noted_and_passed),
        T(verify_names_the_image),
        cmocka_unit_test(the_registry_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
