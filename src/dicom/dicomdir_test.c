#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/dicomdir.h"
#include "dicom/tags.h"

static struct dset *record(struct dset *d, const char *file, uint16_t in_use)
{
    struct dset *item = NULL;
    assert_int_equal(dset_put_item(d, DT_DirectoryRecordSequence, &item), ERR_OK);
    assert_int_equal(dset_put_u16(item, DT_RecordInUseFlag, in_use), ERR_OK);
    if (file != NULL) {
        assert_int_equal(dset_put_str(item, DT_ReferencedFileID, str_of(file)), ERR_OK);
    }
    return item;
}

static void references_in_use_become_paths(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_VALUE);
    struct dset *d = dset_new(&a);
    (void)record(d, NULL, 0xFFFF); // a patient record
    (void)record(d, "IMAGES\\IM1", 0xFFFF);
    (void)record(d, "IM2", 0); // deleted
    struct str *paths;
    size_t      n, bad;
    assert_int_equal(dicomdir_paths(d, &a, &paths, &n, &bad, NULL), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(bad, 0);
    assert_string_equal(paths[0].ptr, "IMAGES/IM1");
}

static void a_reference_out_of_the_folder_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "..\\IM1", "IMAGES\\..\\..\\IM1", "/etc/passwd", "A\\/B", ".", "A\\."};
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_VALUE);
    struct dset *d = dset_new(&a);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)record(d, cases[i], 0xFFFF);
    }
    struct str *paths;
    size_t      n, bad;
    assert_int_equal(dicomdir_paths(d, &a, &paths, &n, &bad, NULL), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(bad, sizeof(cases) / sizeof(cases[0]));
}

static void a_data_set_without_records_is_no_dicomdir(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_VALUE);
    struct errmsg e = {0};
    struct str   *paths = NULL;
    size_t        n = 7, bad = 7;
    assert_int_equal(dicomdir_paths(dset_new(&a), &a, &paths, &n, &bad, &e), ERR_SYNTAX);
    assert_int_equal(n, 7); // outputs only on success
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_in_use_become_paths),
        cmocka_unit_test(a_reference_out_of_the_folder_is_refused),
        cmocka_unit_test(a_data_set_without_records_is_no_dicomdir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
