#include <stdatomic.h>

#include "archive/reject.h"
#include "archive/testkit.h"
#include "archive/view.h"
#include "base/limits.h"
#include "dicom/tags.h"

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

static struct kit_object image(unsigned series, unsigned i)
{
    return (struct kit_object){
        .study = 1, .series = series, .image = i, .pixels = 4096, .patient = "P1"};
}

/* Three images in series 1, sealed, and two in series 2, open. */
static void store(struct kit *k)
{
    for (unsigned i = 1; i <= 5; i++) {
        struct kit_object o = image(i <= 3 ? 1 : 2, i);
        size_t            n = 0;
        kit_store(k, &o);
        if (i == 3) {
            kit_ok(archive_seal(k->a, 0, &n, &kit_e));
        }
    }
    kit_ok(archive_count(k->a, &kit_e));
}

/* series 0: the whole study; i 0: the whole series. */
static enum err change(struct kit *k, unsigned series, unsigned i, bool restore, uint64_t *n)
{
    struct kit_object o = image(series != 0 ? series : 1, i != 0 ? i : 1);
    char              study[65], of[65], sop[65];
    struct reject     r = {.tenant_id = k->from[0].tenant_id,
                           .tenant = k->from[0].tenant,
                           .study_uid = kit_uid(study, "study", &o),
                           .series_uid = series != 0 ? kit_uid(of, "eries", &o) : STR(""),
                           .sop_uid = i != 0 ? kit_uid(sop, "image", &o) : STR(""),
                           .restore = restore,
                           .who = STR("token 1"),
                           .code = STR("113001"),
                           .reason = STR("moved \"twice\"\n")};
    *n = 0;
    return archive_reject(k->a, &r, n, &kit_e);
}

static void expect_change(struct kit *k, unsigned series, unsigned i, bool restore, uint64_t want)
{
    uint64_t n = 0;
    kit_ok(change(k, series, i, restore, &n));
    assert_int_equal(n, want);
}

/* Rows at a level, and a count of the last one. */
static size_t rows(struct kit *k, enum level level, uint32_t tag, int64_t *ret)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 8 << 20);
    struct find    *f = NULL;
    struct find_row r;
    size_t          n = 0;
    struct db      *db = db_pool_take(archive_db(k->a), NULL);
    *ret = 0;
    kit_ok(index_find(db, k->from[0].tenant_id, level, dset_new(&mem), &f, &kit_e));
    while (find_next(f, &mem, &r, &kit_e) == ERR_OK) {
        n++;
        assert_true(dset_int(r.dset, tag, ret));
    }
    find_free(f);
    db_pool_give(archive_db(k->a), db);
    return n;
}

static size_t listed(struct kit *k, unsigned series)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 8 << 20);
    struct kit_object o = image(series, 1);
    struct object    *x = NULL;
    return kit_list(k, 0, &o, &mem, &x);
}

static size_t viewed(struct kit *k, unsigned series, uint64_t *ret_tag)
{
    struct kit_object o = image(series, 1);
    char              study[65], of[65];
    struct view_key   key = {.tenant_id = k->from[0].tenant_id,
                             .tenant = k->from[0].tenant,
                             .study_uid = kit_uid(study, "study", &o),
                             .series_uid = kit_uid(of, "eries", &o)};
    struct view      *v = NULL;
    enum err          rc = view_get(k->a, &key, true, &v, NULL);
    if (rc == ERR_NOTFOUND) {
        return 0;
    }
    assert_int_equal(rc, ERR_OK);
    size_t n = view_count(v);
    *ret_tag = view_tag(v);
    view_unref(v);
    return n;
}

static void expect_all(struct kit *k, size_t one, size_t two)
{
    int64_t  count = 0;
    uint64_t tag = 0;
    size_t   series = (one > 0 ? 1U : 0U) + (two > 0 ? 1U : 0U);
    assert_int_equal(listed(k, 1), one);
    assert_int_equal(listed(k, 2), two);
    assert_int_equal(viewed(k, 1, &tag), one);
    assert_int_equal(viewed(k, 2, &tag), two);
    assert_int_equal(rows(k, LEVEL_SERIES, DT_NumberOfSeriesRelatedInstances, &count), series);
    assert_int_equal(rows(k, LEVEL_STUDY, DT_NumberOfStudyRelatedInstances, &count), series > 0);
    assert_int_equal(count, one + two);
    assert_int_equal(rows(k, LEVEL_STUDY, DT_NumberOfStudyRelatedSeries, &count), series > 0);
    assert_int_equal(count, series);
    assert_int_equal(rows(k, LEVEL_PATIENT, DT_NumberOfPatientRelatedInstances, &count),
                     series > 0);
    assert_int_equal(count, one + two);
    assert_int_equal(rows(k, LEVEL_PATIENT, DT_NumberOfPatientRelatedSeries, &count), series > 0);
    assert_int_equal(count, series);
}

static void what_is_rejected_is_gone_until_it_is_restored(void **state)
{
    struct kit *k = *state;
    uint64_t    before = 0, between = 0, after = 0;
    store(k);
    expect_all(k, 3, 2);
    (void)viewed(k, 1, &before);
    expect_change(k, 1, 2, false, 1);
    expect_all(k, 2, 2);
    (void)viewed(k, 1, &between);
    assert_true(before != between);
    expect_change(k, 2, 0, false, 2);
    expect_all(k, 2, 0);
    expect_change(k, 0, 0, false, 2);
    expect_all(k, 0, 0);
    expect_change(k, 2, 5, true, 1);
    expect_all(k, 0, 1);
    expect_change(k, 0, 0, true, 4);
    expect_all(k, 3, 2);
    (void)viewed(k, 1, &after);
    assert_true(after != between);
}

static void nothing_is_rejected_twice(void **state)
{
    struct kit *k = *state;
    uint64_t    n = 0;
    store(k);
    expect_change(k, 1, 2, false, 1);
    assert_int_equal(change(k, 1, 2, false, &n), ERR_NOTFOUND);
    kit_e = (struct errmsg){0};
    assert_int_equal(change(k, 1, 1, true, &n), ERR_NOTFOUND);
    kit_e = (struct errmsg){0};
    assert_int_equal(change(k, 1, 9, false, &n), ERR_NOTFOUND);
    kit_e = (struct errmsg){0};
    assert_int_equal(change(k, 7, 0, false, &n), ERR_NOTFOUND);
    kit_e = (struct errmsg){0};
    expect_all(k, 2, 2);
}

static void sent_again_it_stays_rejected_and_new_images_do_not(void **state)
{
    struct kit         *k = *state;
    enum ingest_outcome how = INGEST_STORED;
    struct kit_object   old = image(2, 4), fresh = image(2, 6);
    store(k);
    expect_change(k, 2, 0, false, 2);
    kit_ok(kit_send(k, 0, &old, 16 << 10, &how, &kit_e));
    assert_int_equal(how, INGEST_DUPLICATE);
    kit_ok(archive_count(k->a, &kit_e));
    expect_all(k, 3, 0);
    kit_store(k, &fresh);
    kit_ok(archive_count(k->a, &kit_e));
    expect_all(k, 3, 1);
    expect_change(k, 2, 0, true, 2);
    expect_all(k, 3, 3);
}

static void a_new_index_knows_what_was_rejected(void **state)
{
    struct kit          *k = *state;
    struct reindex_stats stats = {0};
    char                 path[128];
    store(k);
    expect_change(k, 0, 0, false, 5);
    expect_change(k, 1, 0, true, 3);
    expect_change(k, 1, 3, false, 1);
    expect_all(k, 2, 0);
    kit_close(k);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/index.sqlite%s", k->data, ends[i]);
        (void)unlink(path);
    }
    kit_open(k);
    for (int again = 0; again < 2; again++) {
        kit_ok(archive_reindex(k->a, NULL, NULL, &stats, &kit_e));
        assert_int_equal(stats.failed, 0);
        expect_all(k, 2, 0);
    }
    expect_change(k, 0, 0, true, 3);
    expect_all(k, 3, 2);
}

static void lines_that_cannot_be_read_are_refused(void **state)
{
    (void)state;

    static const struct {
        const char *what, *text;
        enum err    want;
        size_t      n;
    } cases[] = {
        {"no line", "", ERR_OK, 0},
        {"two", "{\"what\":\"reject\",\"sops\":[\"1.2\",\"1.1\"]}\n", ERR_OK, 2},
        {"twice the same", "{\"what\":\"reject\",\"sops\":[\"1.2\",\"1.2\"]}\n", ERR_OK, 1},
        {"taken back",
         "{\"what\":\"reject\",\"sops\":[\"1.2\",\"1.1\"]}\n"
         "{\"what\":\"restore\",\"sops\":[\"1.3\",\"1.1\"]}",
         ERR_OK, 1},
        {"members to come", "{\"what\":\"reject\",\"by\":{\"a\":[1]},\"sops\":[\"1\"]}", ERR_OK, 1},
        {"cut off", "{\"what\":\"reject\",\"sops\":[\"1.2\"", ERR_SYNTAX, 0},
        {"another word", "{\"what\":\"forget\",\"sops\":[\"1.2\"]}", ERR_SYNTAX, 0},
        {"no JSON", "reject 1.2", ERR_SYNTAX, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        struct uid_set                   set = {0};
        arena_init(&a, 1 << 20);
        enum err rc = rejects_parse(str_bytes(str_of(cases[i].text)), &a, &set, NULL);
        if ((cases[i].want == ERR_OK) != (rc == ERR_OK) || set.n != cases[i].n) {
            fail_msg("%s: %s, %zu", cases[i].what, err_name(rc), set.n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_rejected_is_gone_until_it_is_restored, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_rejected_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(sent_again_it_stays_rejected_and_new_images_do_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_index_knows_what_was_rejected, setup, teardown),
        cmocka_unit_test(lines_that_cannot_be_read_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
