#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/api_priv.h"
#include "dicom/tags.h"

/* A header with what the index tells of an image. */
static struct dset *header(struct arena *a, int64_t number, const char *pos)
{
    struct dset *d = dset_new(a);
    assert_non_null(d);
    assert_int_equal(dset_put_int(d, DT_InstanceNumber, number), ERR_OK);
    assert_int_equal(dset_put_u16(d, DT_Rows, 512), ERR_OK);
    assert_int_equal(dset_put_str(d, DT_RescaleIntercept, STR("-1024")), ERR_OK);
    assert_int_equal(dset_put_str(d, DT_WindowCenter, STR("40\\-600")), ERR_OK);
    assert_int_equal(dset_put_str(d, DT_ImagePositionPatient, str_of(pos)), ERR_OK);
    return d;
}

static struct str written(struct arena *a, const struct image_facts *f, size_t n)
{
    struct buf   b;
    struct jsonw w;
    buf_init(&b, 1 << 20);
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    images_write(&w, f, n);
    jsonw_obj_end(&w);
    struct str s = arena_str(a, (struct str){(const char *)b.ptr, b.len});
    buf_done(&b);
    return s;
}

static void what_images_have_in_common_is_said_once(void **state)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct image_facts f[2];
    struct pack_image  p = {.sop_uid = "1.2.31", .class_uid = "1.9", .syntax_uid = "1.8"};
    (void)state;
    assert_int_equal(image_facts(header(&a, 1, "0\\0\\1.5"), &p, &a, &f[0], NULL), ERR_OK);
    p.sop_uid[5] = '2';
    assert_int_equal(image_facts(header(&a, 2, "0\\0\\2"), &p, &a, &f[1], NULL), ERR_OK);
    assert_string_equal(written(&a, f, 2).ptr,
                        "{\"prefix\":\"1.2.3\",\"sop\":[\"1\",\"2\"],"
                        "\"all\":{\"rows\":512,\"icept\":-1024,\"wc\":40,\"syntax\":\"1.8\","
                        "\"class\":\"1.9\"},"
                        "\"each\":{\"number\":[1,2],\"pos\":[[0,0,1.5],[0,0,2]]}}");
}

static void an_image_without_a_readable_header_is_listed(void **state)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct image_facts f;
    struct pack_image  p = {.sop_uid = "1.2", .class_uid = "1.9", .syntax_uid = "1.8"};
    (void)state;
    assert_int_equal(image_facts(NULL, &p, &a, &f, NULL), ERR_OK);
    assert_string_equal(written(&a, &f, 1).ptr,
                        "{\"prefix\":\"1.2\",\"sop\":[\"\"],"
                        "\"all\":{\"syntax\":\"1.8\",\"class\":\"1.9\"},\"each\":{}}");
    assert_string_equal(written(&a, NULL, 0).ptr,
                        "{\"prefix\":\"\",\"sop\":[],\"all\":{},\"each\":{}}");
}

static void the_cache_forgets_what_changed_and_what_is_old(void **state)
{
    struct image_cache          *c = NULL;
    CLEANUP(buf_done) struct buf b;
    static uint8_t               big[LIMIT_IMAGE_CACHE / 8];
    (void)state;
    buf_init(&b, LIMIT_IMAGE_CACHE);
    assert_int_equal(image_cache_new(&c, NULL), ERR_OK);
    image_cache_put(c, 1, 7, str_bytes(STR("old")));
    image_cache_put(c, 1, 8, str_bytes(STR("new")));
    assert_false(image_cache_get(c, 1, 7, &b));
    assert_true(image_cache_get(c, 1, 8, &b));
    assert_memory_equal(b.ptr, "new", 3);
    for (int64_t i = 2; i < 12; i++) {
        image_cache_put(c, i, 1, (struct bytes){big, sizeof(big)});
    }
    buf_clear(&b);
    assert_false(image_cache_get(c, 1, 8, &b));
    assert_true(image_cache_get(c, 11, 1, &b));
    assert_int_equal(b.len, sizeof(big));
    image_cache_free(c);
    image_cache_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_images_have_in_common_is_said_once),
        cmocka_unit_test(an_image_without_a_readable_header_is_listed),
        cmocka_unit_test(the_cache_forgets_what_changed_and_what_is_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
