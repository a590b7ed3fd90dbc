#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sys/pool.h"

enum { JOBS = 1000 };

struct tally {
    atomic_int run, last;
    atomic_int disorder;
};

struct numbered {
    struct pool_job job;
    struct tally   *tally;
    int             n;
};

static void count(void *arg)
{
    struct numbered *j = arg;
    int              before = atomic_exchange(&j->tally->last, j->n);
    atomic_fetch_add(&j->tally->disorder, before != j->n - 1);
    atomic_fetch_add(&j->tally->run, 1);
}

static void submit_all(unsigned workers, struct tally *t)
{
    static struct numbered jobs[JOBS];
    struct pool           *p = NULL;
    struct errmsg          e = {0};
    atomic_store(&t->last, -1);
    if (pool_new("test", workers, &p, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct numbered){.tally = t, .n = i};
        jobs[i].job = (struct pool_job){.fn = count, .arg = &jobs[i]};
        pool_submit(p, &jobs[i].job);
    }
    pool_free(p); // what is queued is run first
}

static void one_worker_keeps_the_order(void **state)
{
    (void)state;
    struct tally t = {0};
    submit_all(1, &t);
    assert_int_equal(atomic_load(&t.run), JOBS);
    assert_int_equal(atomic_load(&t.disorder), 0);
}

static void many_workers_run_every_job_once(void **state)
{
    (void)state;
    struct tally t = {0};
    submit_all(8, &t);
    assert_int_equal(atomic_load(&t.run), JOBS);
}

static void an_idle_pool_ends(void **state)
{
    (void)state;
    struct pool *p = NULL;
    assert_int_equal(pool_new("idle", 3, &p, NULL), ERR_OK);
    pool_free(p);
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_keeps_the_order),
        cmocka_unit_test(many_workers_run_every_job_once),
        cmocka_unit_test(an_idle_pool_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
