#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "archive/imgset.h"

static struct pack_image image(unsigned i)
{
    struct pack_image p = {.at = i, .size = 900, .data_at = i + 300U, .hash = i};
    (void)snprintf(p.sop_uid, sizeof(p.sop_uid), "1.2.840.%u", i);
    (void)snprintf(p.class_uid, sizeof(p.class_uid), "1.2.840.10008.5.1.4.1.1.%u", i % 3);
    (void)snprintf(p.syntax_uid, sizeof(p.syntax_uid), "1.2.840.10008.1.2.1");
    p.number = (int32_t)i;
    return p;
}

static void what_is_added_is_found(void **state)
{
    (void)state;

    enum { N = 20000 };
    CLEANUP(imgset_done) struct imgset s;
    imgset_init(&s);
    assert_null(imgset_find(&s, STR("1.2")));
    for (unsigned i = 0; i < N; i++) {
        struct pack_image p = image(i);
        assert_int_equal(imgset_add(&s, i / 100 + 1, &p, NULL), ERR_OK);
    }
    assert_int_equal(s.n, N);
    for (unsigned i = 0; i < N; i++) {
        struct pack_image want = image(i), got;
        const struct img *m = imgset_find(&s, str_of(want.sop_uid));
        assert_non_null(m);
        assert_int_equal(m->pack_n, i / 100 + 1);
        img_get(&s, m, &got);
        assert_memory_equal(&got, &want, sizeof(got));
    }
    assert_null(imgset_find(&s, STR("1.2.840.20000")));
}

static void the_first_of_a_uid_stays(void **state)
{
    (void)state;
    CLEANUP(imgset_done) struct imgset s;
    imgset_init(&s);
    struct pack_image a = image(1), b = image(1);
    b.at = 77;
    assert_int_equal(imgset_add(&s, 1, &a, NULL), ERR_OK);
    assert_int_equal(imgset_add(&s, 2, &b, NULL), ERR_OK);
    assert_int_equal(s.n, 1);
    assert_int_equal(imgset_find(&s, str_of(a.sop_uid))->at, a.at);
}

static void a_claim_can_be_given_up_and_taken_again(void **state)
{
    (void)state;
    CLEANUP(imgset_done) struct imgset s;
    imgset_init(&s);
    struct img *m = NULL;
    assert_int_equal(imgset_claim(&s, STR("1.2"), STR("1.3"), STR("1.4"), &m, NULL), ERR_OK);
    assert_int_equal(m->state, IMG_GONE);
    m->state = IMG_CLAIMED;
    assert_int_equal(imgset_claim(&s, STR("1.2"), STR("1.3"), STR("1.4"), &m, NULL), ERR_OK);
    assert_int_equal(m->state, IMG_CLAIMED);
    m->state = IMG_GONE;
    struct pack_image p = {.size = 5, .sop_uid = "1.2", .class_uid = "1.5", .syntax_uid = "1.6"};
    assert_int_equal(imgset_add(&s, 3, &p, NULL), ERR_OK);
    assert_int_equal(s.n, 1);
    assert_int_equal(m->state, IMG_PRESENT);
    assert_true(is_class_filed(&s, STR("1.5")));
    assert_false(is_class_filed(&s, STR("1.3"))); // it was only tried
}

static void limits_are_kept(void **state)
{
    (void)state;
    CLEANUP(imgset_done) struct imgset s;
    imgset_init(&s);
    struct img *m = NULL;
    struct str  none = {"", 0};
    char        cls[65];
    assert_int_equal(imgset_claim(&s, none, STR("1.3"), STR("1.4"), &m, NULL), ERR_SYNTAX);
    enum err rc = ERR_OK;
    unsigned i = 0;
    for (; i < 5000 && rc == ERR_OK; i++) {
        char uid[65];
        (void)snprintf(uid, sizeof(uid), "1.2.%u", i);
        (void)snprintf(cls, sizeof(cls), "1.3.%u", i);
        rc = imgset_claim(&s, str_of(uid), str_of(cls), STR("1.4"), &m, NULL);
    }
    assert_int_equal(rc, ERR_LIMIT);
    assert_in_range(i, 1000, 1100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_found),
        cmocka_unit_test(the_first_of_a_uid_stays),
        cmocka_unit_test(a_claim_can_be_given_up_and_taken_again),
        cmocka_unit_test(limits_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
