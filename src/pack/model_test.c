#include <setjmp.h>
#include <stdarg.h>
#include <zlib.h>

#include <cmocka.h>

#include "pack/model.h"

/* One member around bodies that were compressed apart. */
static size_t member(const char *const *texts, size_t n, uint8_t *out, size_t room)
{
    struct model_body body[4] = {{0}};
    size_t            at = MODEL_HEAD;
    memcpy(out, model_head, MODEL_HEAD);
    for (size_t i = 0; i < n; i++) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        if (i > 0) {
            memcpy(out + at, model_comma, MODEL_COMMA);
            at += MODEL_COMMA;
        }
        z.next_in = (Bytef *)(uintptr_t)texts[i]; // NOLINT(performance-no-int-to-ptr)
        z.avail_in = (uInt)strlen(texts[i]);
        z.next_out = out + at;
        z.avail_out = (uInt)(room - at);
        assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
        body[i] = (struct model_body){
            .deflated = room - at - z.avail_out,
            .plain = strlen(texts[i]),
            .crc = (uint32_t)crc32(0, (const Bytef *)texts[i], (uInt)strlen(texts[i]))};
        at += body[i].deflated;
        assert_int_equal(deflateEnd(&z), Z_DATA_ERROR); // not finished, and need not be
    }
    model_tail(body, n, out + at);
    return at + MODEL_TAIL;
}

static void gunzips_to(const uint8_t *in, size_t n, const char *want)
{
    char     text[512];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, // NOLINT(performance-no-int-to-ptr)
                  .avail_in = (uInt)n,
                  .next_out = (Bytef *)text,
                  .avail_out = sizeof(text)};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, strlen(want));
    assert_memory_equal(text, want, strlen(want));
    assert_int_equal(inflateEnd(&z), Z_OK);
}

static void several_bodies_make_one_array(void **state)
{
    (void)state;
    const char *const texts[] = {"{\"a\":1},{\"a\":1},{\"a\":1}", "{\"b\":2}", "{}"};
    uint8_t           out[1024];
    gunzips_to(out, member(texts, 1, out, sizeof(out)), "[{\"a\":1},{\"a\":1},{\"a\":1}]");
    gunzips_to(out, member(texts, 3, out, sizeof(out)),
               "[{\"a\":1},{\"a\":1},{\"a\":1},{\"b\":2},{}]");
    gunzips_to(out, member(texts, 0, out, sizeof(out)), "[]");
}

static void a_body_is_known_by_the_ends_of_its_member(void **state)
{
    (void)state;
    const char *const texts[] = {"{\"name\":\"DUPONT\"},{}", "{\"b\":2}"};
    uint8_t           one[256], two[256], both[512], joined[512];
    struct model_body body[2];
    size_t n[2] = {member(texts, 1, one, sizeof(one)), member(texts + 1, 1, two, sizeof(two))};
    assert_true(model_body_of(one, one + n[0] - MODEL_TAIL, n[0], &body[0]));
    assert_true(model_body_of(two, two + n[1] - MODEL_TAIL, n[1], &body[1]));
    assert_int_equal(body[0].plain, strlen(texts[0]));
    assert_int_equal(body[0].crc, crc32(0, (const Bytef *)texts[0], (uInt)strlen(texts[0])));

    size_t len = member(texts, 2, both, sizeof(both)), at = MODEL_HEAD;
    memcpy(joined, model_head, MODEL_HEAD);
    memcpy(joined + at, one + MODEL_HEAD, body[0].deflated);
    at += body[0].deflated;
    memcpy(joined + at, model_comma, MODEL_COMMA);
    at += MODEL_COMMA;
    memcpy(joined + at, two + MODEL_HEAD, body[1].deflated);
    at += body[1].deflated;
    model_tail(body, 2, joined + at);
    assert_int_equal(at + MODEL_TAIL, len);
    assert_memory_equal(joined, both, len);
}

static void another_gzip_member_is_not_taken_for_ours(void **state)
{
    (void)state;
    const char *const texts[] = {"{}"};
    uint8_t           out[256];
    struct model_body b;
    size_t            n = member(texts, 1, out, sizeof(out));
    const uint8_t    *tail = out + n - MODEL_TAIL;
    assert_false(model_body_of(out, tail, MODEL_HEAD, &b)); // too short
    out[n - MODEL_TAIL] = 0;                                // not the last block
    assert_false(model_body_of(out, tail, n, &b));
    out[n - MODEL_TAIL] = 1;
    out[15] = '{';
    assert_false(model_body_of(out, tail, n, &b));
}

static void a_data_set_that_cannot_be_read_is_said_by_its_uids(void **state)
{
    (void)state;
    const struct model_of        of = {.study_uid = STR("1.2"),
                                       .series_uid = STR("1.2.3"),
                                       .sop_uid = STR("1.2.3.4"),
                                       .class_uid = STR("1.2.840.10008.5.1.4.1.1.2")};
    CLEANUP(buf_done) struct buf out;
    struct errmsg                e = {0};
    buf_init(&out, 4096);
    buf_str(&out, STR("["));
    assert_int_equal(model_write(&of, NULL, NULL, &out, &e), ERR_OK);
    buf_u8(&out, 0);
    assert_non_null(
        strstr((const char *)out.ptr, "\"0020000E\":{\"vr\":\"UI\",\"Value\":[\"1.2.3\"]}"));
    assert_int_equal(out.ptr[0], '[');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_bodies_make_one_array),
        cmocka_unit_test(a_body_is_known_by_the_ends_of_its_member),
        cmocka_unit_test(another_gzip_member_is_not_taken_for_ours),
        cmocka_unit_test(a_data_set_that_cannot_be_read_is_said_by_its_uids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
