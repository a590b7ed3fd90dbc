#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "sys/worker.h"

struct seen {
    char     name[16];
    sigset_t mask;
    size_t   stack;
};

static void look(void *arg)
{
    struct seen   *s = arg;
    pthread_attr_t attr;
    (void)pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
    (void)pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
    (void)pthread_getattr_np(pthread_self(), &attr);
    (void)pthread_attr_getstacksize(&attr, &s->stack);
    (void)pthread_attr_destroy(&attr);
}

static void a_worker_has_a_name_a_small_stack_and_no_signals(void **state)
{
    (void)state;
    struct seen   s = {0};
    pthread_t     t;
    sigset_t      own;
    struct errmsg e = {0};
    if (worker_run("assoc with a long name", look, &s, &t, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_string_equal(s.name, "assoc with a lo"); // 15 characters are all the kernel keeps
    assert_int_equal(s.stack, LIMIT_STACK);
    assert_int_equal(sigismember(&s.mask, SIGTERM), 1);
    assert_int_equal(sigismember(&s.mask, SIGPIPE), 1);
    assert_int_equal(sigismember(&s.mask, SIGSEGV), 0);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &own);
    assert_int_equal(sigismember(&own, SIGTERM), 0); // the caller's own mask is as it was
}

static void count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void hundreds_of_workers_run_detached(void **state)
{
    (void)state;
    static atomic_int n;
    struct errmsg     e = {0};
    for (int i = 0; i < 300; i++) {
        if (worker_start("w", count, &n, &e) != ERR_OK) {
            fail_msg("%s", e.text);
        }
    }
    const struct timespec ms = {.tv_nsec = 1000000};
    for (int i = 0; i < 10000 && atomic_load(&n) < 300; i++) {
        (void)nanosleep(&ms, NULL);
    }
    assert_int_equal(atomic_load(&n), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_has_a_name_a_small_stack_and_no_signals),
        cmocka_unit_test(hundreds_of_workers_run_detached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
