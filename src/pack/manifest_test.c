#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pack/testkit.h"

#define HEAD                                                                                       \
    "{\"garonne\":1,\"tenant\":\"A\",\"study\":\"1\",\"series\":\"2\",\"n\":1,\"received\":0,"     \
    "\"calling\":\"\",\"called\":\"\",\"address\":\"\",\"images\":["
#define SHA    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define IMAGE  "{\"sop\":\"1.1\",\"at\":1024,\"size\":100,\"data_at\":1030,\"sha256\":\"" SHA "\"}"
#define FRAMES "\"at\":1024,\"size\":100,\"data_at\":1030,\"sha256\":\"" SHA "\",\"frames\":"

static void what_is_written_is_read(void **state)
{
    (void)state;
    uint64_t              at[3] = {2000, 3000, (uint64_t)9 << 30}, len[3] = {1000, 0, 1};
    uint32_t              fragments[3] = {1, 1, 7};
    struct manifest_image images[3] = {
        {.image = {.sop_uid = "1.1",
                   .class_uid = KIT_CLASS,
                   .syntax_uid = KIT_SYNTAX,
                   .at = 1536,
                   .size = (uint64_t)10 << 30,
                   .data_at = 1900,
                   .hash = 0xF000000000000001,
                   .number = -5},
         .sha256 = SHA,
         .rows = 512,
         .columns = 256,
         .frames = 3,
         .frame_at = at,
         .frame_len = len,
         .frame_fragments = fragments},
        {.image = {.sop_uid = "1.2", .at = 5, .size = 0, .data_at = 5, .number = INT32_MIN},
         .sha256 = SHA,
         .frames = 7}, // where they lie is not known
        {.image = {.sop_uid = "1.3", .number = INT32_MAX}, .sha256 = SHA},
    };
    struct manifest in = {.origin = kit_origin(UINT32_MAX), .images = images, .n = 3}, *out = NULL;
    struct errmsg   e = {0};
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    manifest_write(&in, &b);
    if (manifest_parse((struct str){(char *)b.ptr, b.len}, &a, &out, &e) != ERR_OK) {
        fail_msg("%s", e.text);
        return;
    }
    assert_int_equal(out->n, 3);
    assert_true(str_eq(out->origin.called, in.origin.called));
    assert_true(str_eq(out->origin.address, in.origin.address));
    assert_true(out->origin.received_us == in.origin.received_us && out->origin.n == UINT32_MAX);
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_same_image(&out->images[i].image, &images[i].image));
        assert_string_equal(out->images[i].sha256, SHA);
        assert_int_equal(out->images[i].rows, images[i].rows);
        assert_int_equal(out->images[i].columns, images[i].columns);
        assert_int_equal(out->images[i].frames, images[i].frames);
    }
    assert_memory_equal(out->images[0].frame_at, at, sizeof(at));
    assert_memory_equal(out->images[0].frame_len, len, sizeof(len));
    assert_memory_equal(out->images[0].frame_fragments, fragments, sizeof(fragments));
    assert_null(out->images[1].frame_at);
}

static void later_versions_may_add_keys(void **state)
{
    (void)state;
    struct manifest                 *m = NULL;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(manifest_parse(STR(HEAD IMAGE "],\"new\":{\"a\":[1,null]}}"), &a, &m, NULL),
                     ERR_OK);
    assert_int_equal(m->n, 1);
    assert_string_equal(m->images[0].image.sop_uid, "1.1");
}

static void broken_manifests_are_refused(void **state)
{
    (void)state;

    static const struct {
        const char *what, *in;
        enum err    want;
    } cases[] = {
        {"empty", "", ERR_SYNTAX},
        {"cut", HEAD IMAGE, ERR_SYNTAX},
        {"no origin", "{\"garonne\":1,\"images\":[]}", ERR_SYNTAX},
        {"another version", "{\"garonne\":2}", ERR_UNSUPPORTED},
        {"UID with a slash", HEAD "{\"sop\":\"../1\"}]}", ERR_SYNTAX},
        {"UID too long",
         HEAD "{\"sop\":\"11111111111111111111111111111111111111111111111111111111111111111\"}]}",
         ERR_SYNTAX},
        {"no sum", HEAD "{\"sop\":\"1\",\"at\":1,\"size\":1,\"data_at\":1}]}", ERR_SYNTAX},
        {"sum too short", HEAD "{\"sop\":\"1\",\"sha256\":\"00\"}]}", ERR_SYNTAX},
        {"range that wraps",
         HEAD
         "{\"sop\":\"1\",\"at\":2,\"size\":18446744073709551615,\"data_at\":2,\"sha256\":\"" SHA
         "\"}]}",
         ERR_SYNTAX},
        {"data before the file",
         HEAD "{\"sop\":\"1\",\"at\":2,\"size\":1,\"data_at\":1,\"sha256\":\"" SHA "\"}]}",
         ERR_SYNTAX},
        {"frames that are not there",
         HEAD "{\"sop\":\"1\"," FRAMES "2,\"frame_at\":[1024],\"frame_len\":[1]}]}", ERR_SYNTAX},
        {"lengths missing", HEAD "{\"sop\":\"1\"," FRAMES "1,\"frame_at\":[1024]}]}", ERR_SYNTAX},
        {"frame outside",
         HEAD "{\"sop\":\"1\"," FRAMES "1,\"frame_at\":[1024],\"frame_len\":[101]}]}", ERR_SYNTAX},
        {"frame before", HEAD "{\"sop\":\"1\"," FRAMES "1,\"frame_at\":[1023],\"frame_len\":[1]}]}",
         ERR_SYNTAX},
        {"fragments of other frames",
         HEAD "{\"sop\":\"1\"," FRAMES
              "1,\"frame_at\":[1024],\"frame_len\":[1],\"frame_fragments\":[1,2]}]}",
         ERR_SYNTAX},
        {"number too large", HEAD "{\"sop\":\"1\",\"number\":2147483648}]}", ERR_SYNTAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manifest                 *m = NULL;
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        if (manifest_parse(str_of(cases[i].in), &a, &m, NULL) != cases[i].want) {
            fail_msg("%s", cases[i].what);
        }
    }
}

static void a_small_arena_is_a_limit(void **state)
{
    (void)state;
    struct manifest                 *m = NULL;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 200);
    assert_int_equal(manifest_parse(STR(HEAD IMAGE "]}"), &a, &m, NULL), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(later_versions_may_add_keys),
        cmocka_unit_test(broken_manifests_are_refused),
        cmocka_unit_test(a_small_arena_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
