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

static void what_was_sent_comes_back(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    const struct kit_object o[3] = {{1, 1, 3, 0, 5000, 0, NULL, NULL},
                                    {1, 1, 1, 0, 100000, 0, NULL, NULL},
                                    {1, 1, 2, 0, 2, 0, NULL, NULL}};
    for (size_t i = 0; i < 3; i++) {
        kit_store(k, &o[i]);
    }
    for (int pass = 0; pass < 4; pass++) {
        struct object *x = NULL;
        assert_int_equal(kit_list(k, 0, &o[0], &mem, &x), 3);
        assert_int_equal(x[0].open, pass < 2);
        static const size_t sorted[] = {1, 2, 0}, arrived[] = {0, 1, 2};
        for (size_t i = 0; i < 3; i++) { // numbers are not read again after a restart
            kit_check(k, &x[i], &o[pass == 1 ? arrived[i] : sorted[i]]);
        }
        if (pass == 1) {
            size_t n = 0;
            kit_ok(archive_seal(k->a, 0, &n, &kit_e));
            assert_int_equal(n, 1);
        } else {
            kit_reopen(k);
        }
    }
}

static void pieces_of_any_size_do(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    static const size_t sizes[] = {1, 7, 64, 250, 1000, 1 << 20};
    for (unsigned i = 0; i < 6; i++) {
        struct kit_object   o = {2, i, 1, 0, 900, 0, NULL, NULL};
        enum ingest_outcome how = INGEST_DUPLICATE;
        struct object      *x = NULL;
        for (unsigned n = 1; n < 4; n++) {
            o.image = n;
            kit_ok(kit_send(k, 0, &o, sizes[i], &how, &kit_e));
            assert_int_equal(how, INGEST_STORED);
        }
        assert_int_equal(kit_list(k, 0, &o, &mem, &x), 3);
        kit_check(k, &x[2], &o);
    }
}

static void a_large_header_is_waited_for(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    const struct kit_object good = {3, 1, 1, 0, 5000, LIMIT_INGEST_HEAD - 4096, NULL, NULL};
    const struct kit_object bad = {3, 2, 1, 0, 5000, LIMIT_INGEST_HEAD + 4096, NULL, NULL};
    struct object          *x = NULL;
    enum ingest_outcome     how;
    struct errmsg           why = {0};
    kit_store(k, &good);
    assert_int_equal(kit_list(k, 0, &good, &mem, &x), 1);
    kit_check(k, x, &good);
    assert_int_equal(kit_send(k, 0, &bad, 100000, &how, &why), ERR_SYNTAX);
    assert_int_equal(kit_series_id(k, 0, &bad), 0);
}

struct refusal {
    const char *what;
    const char *sop, *study, *series;
};

/* Its data set at once, and cut inside its first element. */
static void expect_refusal(struct kit *k, const struct refusal *r)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    kit_elem(&b, 0x00080018, "UI", str_of(r->sop));
    if (r->study != NULL) {
        kit_elem(&b, 0x0020000D, "UI", str_of(r->study));
    }
    if (r->series != NULL) {
        kit_elem(&b, 0x0020000E, "UI", str_of(r->series));
    }
    kit_elem(&b, 0x00280010, "US", (struct str){"\x40\x00", 2});
    for (int whole = 0; whole < 2; whole++) {
        struct ingest      *x = NULL;
        enum ingest_outcome how;
        kit_ok(ingest_begin(k->a, &k->from[0], STR(KIT_CT), STR("1.2.3.4"), STR(KIT_SYNTAX), &x,
                            &kit_e));
        (void)ingest_add(x, (struct bytes){b.ptr, whole == 1 ? b.len : 10}, NULL);
        if (ingest_commit(x, &how, NULL) != ERR_SYNTAX) {
            fail_msg("%s", r->what);
        }
    }
}

static void what_names_no_series_is_refused(void **state)
{
    static const struct refusal cases[] = {
        {"another SOP instance", "1.2.3.5", "1.2.3", "1.2.4"},
        {"no study", "1.2.3.4", NULL, "1.2.4"},
        {"no series", "1.2.3.4", "1.2.3", NULL},
        {"empty series", "1.2.3.4", "1.2.3", ""},
        {"a path as a UID", "1.2.3.4", "../../etc", "1.2.4"},
        {"a dot", "1.2.3.4", "1.2.3", ".."},
    };

    struct kit *k = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_refusal(k, &cases[i]);
    }
    struct ingest *x = NULL;
    assert_int_equal(
        ingest_begin(k->a, &k->from[0], STR(KIT_CT), STR("../x"), STR(KIT_SYNTAX), &x, NULL),
        ERR_SYNTAX);
    assert_int_equal(kit_counts(k).series, 0);
}

static void a_short_object_is_filed_as_well(void **state)
{
    struct kit                  *k = *state;
    CLEANUP(buf_done) struct buf b;
    struct ingest               *x = NULL;
    enum ingest_outcome          how = INGEST_DUPLICATE;
    buf_init(&b, 1 << 20);
    kit_elem(&b, 0x00080018, "UI", STR("1.2.3.4"));
    kit_elem(&b, 0x0020000D, "UI", STR("1.2.826.0.1.9"));
    kit_elem(&b, 0x0020000E, "UI", STR("1.2.826.0.1.9.1"));
    kit_ok(
        ingest_begin(k->a, &k->from[0], STR(KIT_CT), STR("1.2.3.4"), STR(KIT_SYNTAX), &x, &kit_e));
    kit_ok(ingest_add(x, (struct bytes){b.ptr, b.len}, &kit_e));
    kit_ok(ingest_commit(x, &how, &kit_e));
    assert_int_equal(how, INGEST_STORED);
    const struct kit_object o = {9, 1, 0, 0, 0, 0, NULL, NULL};
    assert_int_not_equal(kit_series_id(k, 0, &o), 0);
}

static void an_abort_leaves_nothing(void **state)
{
    struct kit                  *k = *state;
    CLEANUP(buf_done) struct buf b;
    const struct kit_object      o = {4, 1, 1, 0, 100000, 0, NULL, NULL};
    buf_init(&b, 1 << 20);
    kit_dset(&o, &b);
    for (size_t cut = 0; cut < 60000; cut = cut * 2 + 1) {
        struct ingest *i = NULL;
        kit_ok(kit_begin(k, 0, &o, &i, &kit_e));
        kit_ok(ingest_add(i, (struct bytes){b.ptr, cut}, &kit_e));
        ingest_abort(i);
    }
    assert_int_equal(kit_series_id(k, 0, &o), 0);
    size_t n = 7;
    kit_ok(archive_seal(k->a, 0, &n, &kit_e));
    assert_int_equal(n, 0);
    kit_store(k, &o);
    assert_int_not_equal(kit_series_id(k, 0, &o), 0);
}

/* So many rows, each with its file. */
static void expect_shelf(struct kit *k, size_t want)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    struct quarantine_row *q = NULL;
    size_t                 n = 0;
    struct db             *db = db_pool_take(archive_db(k->a), NULL);
    kit_ok(quarantine_list(db, k->from[0].tenant_id, &mem, &q, &n, &kit_e));
    db_pool_give(archive_db(k->a), db);
    assert_int_equal(n, want);
    for (size_t i = 0; i < n; i++) {
        char        path[600];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s/%s", archive_root(k->a), q[i].path.ptr);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal((uint64_t)st.st_size, q[i].bytes);
    }
}

static void duplicates_are_dropped_and_conflicts_quarantined(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    const struct kit_object o = {5, 1, 1, 0, 70000, 0, NULL, NULL};
    struct kit_object       other = o, longer = o, shorter = o;
    enum ingest_outcome     how = INGEST_STORED;
    other.salt = 1;
    longer.pixels += 10;
    shorter.pixels -= 10;
    kit_store(k, &o);
    for (int pass = 0; pass < 3; pass++) { // open, sealed, sealed and read back
        const struct kit_object *conflicts[] = {&other, &longer, &shorter};
        kit_ok(kit_send(k, 0, &o, 5000, &how, &kit_e));
        assert_int_equal(how, INGEST_DUPLICATE);
        for (size_t i = 0; i < 3; i++) {
            kit_ok(kit_send(k, 0, conflicts[i], 5000, &how, &kit_e));
            assert_int_equal(how, INGEST_QUARANTINED);
        }
        if (pass == 0) {
            kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
        } else {
            kit_reopen(k);
        }
        struct object *x = NULL;
        assert_int_equal(kit_list(k, 0, &o, &mem, &x), 1);
        kit_check(k, x, &o);
    }
    expect_shelf(k, 3); // the same conflict again is kept once
}

static void another_syntax_is_a_conflict(void **state)
{
    struct kit                  *k = *state;
    CLEANUP(buf_done) struct buf b;
    const struct kit_object      o = {6, 1, 1, 0, 700, 0, NULL, NULL};
    char                         uid[65];
    enum ingest_outcome          how = INGEST_STORED;
    struct ingest               *i = NULL;
    buf_init(&b, 1 << 20);
    kit_dset(&o, &b);
    kit_store(k, &o);
    kit_ok(ingest_begin(k->a, &k->from[0], STR(KIT_CT), kit_uid(uid, "image", &o),
                        STR("1.2.840.10008.1.2.4.50"), &i, &kit_e));
    kit_ok(ingest_add(i, (struct bytes){b.ptr, b.len}, &kit_e));
    kit_ok(ingest_commit(i, &how, &kit_e));
    assert_int_equal(how, INGEST_QUARANTINED);
}

/* Two associations with one SOP Instance UID at the same time: the first to finish has it. */
static void of_two_at_once_one_is_stored(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    for (unsigned salt = 0; salt < 2; salt++) {
        const struct kit_object      o = {7, salt, 1, 0, 70000, 0, NULL, NULL};
        struct kit_object            p = o;
        CLEANUP(buf_done) struct buf a;
        CLEANUP(buf_done) struct buf b;
        struct ingest               *x = NULL, *y = NULL;
        enum ingest_outcome          how = INGEST_STORED;
        struct object               *list = NULL;
        buf_init(&a, 1 << 20);
        buf_init(&b, 1 << 20);
        p.salt = salt;
        kit_dset(&o, &a);
        kit_dset(&p, &b);
        kit_ok(kit_begin(k, 0, &o, &x, &kit_e));
        kit_ok(kit_begin(k, 0, &p, &y, &kit_e));
        kit_ok(ingest_add(x, (struct bytes){a.ptr, 5000}, &kit_e));
        kit_ok(ingest_add(y, (struct bytes){b.ptr, b.len}, &kit_e));
        kit_ok(ingest_add(x, (struct bytes){a.ptr + 5000, a.len - 5000}, &kit_e));
        kit_ok(ingest_commit(x, &how, &kit_e));
        assert_int_equal(how, INGEST_STORED);
        kit_ok(ingest_commit(y, &how, &kit_e));
        assert_int_equal(how, salt == 0 ? INGEST_DUPLICATE : INGEST_QUARANTINED);
        assert_int_equal(kit_list(k, 0, &o, &mem, &list), 1);
        kit_check(k, list, &o);
    }
}

static void tenants_share_nothing(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    const struct kit_object o = {8, 1, 1, 0, 700, 0, NULL, NULL};
    struct kit_object       p = o;
    enum ingest_outcome     how = INGEST_DUPLICATE;
    struct object          *x = NULL;
    p.salt = 1;
    kit_store(k, &o);
    assert_int_equal(kit_series_id(k, 1, &o), 0);
    kit_ok(kit_send(k, 1, &p, 4000, &how, &kit_e));
    assert_int_equal(how, INGEST_STORED);
    assert_int_equal(kit_list(k, 0, &o, &mem, &x), 1);
    kit_check(k, x, &o);
    assert_int_equal(kit_list(k, 1, &o, &mem, &x), 1);
    kit_check(k, x, &p);
}

static void two_associations_fill_two_packs_one_fills_one(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    struct kit_object o = {10, 1, 1, 0, 700, 0, NULL, NULL};
    for (o.image = 1; o.image <= 20; o.image++) {
        kit_store(k, &o);
    }
    struct archive_stats s;
    archive_get_stats(k->a, &s);
    assert_int_equal(s.open_packs, 1);
    CLEANUP(buf_done) struct buf b;
    struct ingest               *i = NULL;
    enum ingest_outcome          how = INGEST_DUPLICATE;
    buf_init(&b, 1 << 20);
    o.image = 100;
    kit_dset(&o, &b);
    kit_ok(kit_begin(k, 0, &o, &i, &kit_e));
    kit_ok(ingest_add(i, (struct bytes){b.ptr, b.len}, &kit_e)); // holds the first pack
    o.image = 101;
    kit_store(k, &o);
    kit_ok(ingest_commit(i, &how, &kit_e));
    o.image = 102;
    kit_store(k, &o);
    archive_get_stats(k->a, &s);
    assert_int_equal(s.open_packs, 2);
    assert_int_equal(s.stored, 23);
    struct object *x = NULL;
    assert_int_equal(kit_list(k, 0, &o, &mem, &x), 23);
    kit_check(k, &x[22], &o);
}

static void a_full_pack_is_followed_by_the_next(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    k->conf.max_pack = 100000;
    kit_reopen(k);
    struct kit_object o = {11, 1, 1, 0, 30000, 0, NULL, NULL};
    for (o.image = 1; o.image <= 20; o.image++) {
        kit_store(k, &o);
    }
    struct archive_stats s;
    archive_get_stats(k->a, &s);
    assert_int_equal(s.open_packs, 5);
    size_t n = 0;
    kit_ok(archive_seal(k->a, 60000, &n, &kit_e)); // full ones do not wait
    assert_int_equal(n, 5);
    o.image = 21;
    kit_store(k, &o);
    struct object *x = NULL;
    assert_int_equal(kit_list(k, 0, &o, &mem, &x), 21);
    for (o.image = 1; o.image <= 21; o.image++) {
        kit_check(k, &x[o.image - 1], &o);
    }
}

static void counters_reach_the_index(void **state)
{
    struct kit         *k = *state;
    struct index_counts c = {0};
    struct kit_object   o = {12, 1, 1, 0, 700, 0, NULL, NULL};
    for (o.image = 1; o.image <= 5; o.image++) {
        kit_store(k, &o);
    }
    for (int pass = 0; pass < 3; pass++) {
        kit_ok(archive_count(k->a, &kit_e));
        struct db *db = db_pool_take(archive_db(k->a), NULL);
        kit_ok(index_count(db, k->from[0].tenant_id, &c, &kit_e));
        db_pool_give(archive_db(k->a), db);
        assert_int_equal(c.images, 5);
        assert_int_equal(c.packs_open, pass < 2);
        assert_int_equal(c.packs_sealed, pass == 2);
        if (pass == 0) {
            kit_reopen(k);
        } else {
            kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
        }
    }
}

static void the_workers_count_and_seal(void **state)
{
    struct kit       *k = *state;
    struct kit_object o = {13, 1, 1, 0, 700, 0, NULL, NULL};
    k->conf.background = true;
    k->conf.seal_idle_ms = 100;
    kit_reopen(k);
    kit_store(k, &o);
    struct archive_stats s = {0};
    for (int i = 0; i < 100 && s.sealed == 0; i++) {
        (void)usleep(20000);
        archive_get_stats(k->a, &s);
    }
    assert_int_equal(s.sealed, 1);
    assert_int_equal(s.open_packs, 0);
}

/* The image survives whatever happens to its pack's name. */
static void an_object_found_open_is_read_after_sealing(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    struct kit_object  o = {14, 1, 1, 0, 700, 0, NULL, NULL};
    struct object     *x = NULL;
    struct object_file f;
    kit_store(k, &o);
    assert_int_equal(kit_list(k, 0, &o, &mem, &x), 1);
    kit_ok(object_open(k->a, x, &f, &kit_e));
    kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
    kit_check(k, x, &o);
    uint8_t buf[16];
    size_t  n = 0;
    kit_ok(f.src.read(f.src.ctx, 0, buf, sizeof(buf), &n, &kit_e));
    assert_int_equal(n, 16);
    object_close(&f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_sent_comes_back),
        T(pieces_of_any_size_do),
        T(a_large_header_is_waited_for),
        T(what_names_no_series_is_refused),
        T(a_short_object_is_filed_as_well),
        T(an_abort_leaves_nothing),
        T(duplicates_are_dropped_and_conflicts_quarantined),
        T(another_syntax_is_a_conflict),
        T(of_two_at_once_one_is_stored),
        T(tenants_share_nothing),
        T(two_associations_fill_two_packs_one_fills_one),
        T(a_full_pack_is_followed_by_the_next),
        T(counters_reach_the_index),
        T(the_workers_count_and_seal),
        T(an_object_found_open_is_read_after_sealing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
