#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "pixel/worker_evil.h"
#include "sys/sandbox.h"
#include "sys/worker.h"

static const char *evil_path(void)
{
    static char path[4096];
    (void)snprintf(path, sizeof(path), "%s/src/prog/pixel-evil", getenv("GARONNE_BUILD"));
    return path;
}

static struct pixel_pool *pool(unsigned workers, int64_t frame_ms)
{
    struct pixel_conf  c = {.program = evil_path(), .workers = workers, .frame_ms = frame_ms};
    struct pixel_pool *p = NULL;
    struct errmsg      e = {0};
    if (pixel_pool_new(&c, &p, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return p;
}

static enum err tell(struct pixel_pool *p, uint32_t op, uint32_t what, struct bytes in,
                     struct buf *out, struct errmsg *e)
{
    uint32_t         ret = 0;
    struct pixel_ask ask = {.op = op,
                            .args = &what,
                            .args_len = sizeof(what),
                            .in = in,
                            .ret = &ret,
                            .ret_len = sizeof(ret)};
    enum err         rc = pixel_call(p, &ask, out, e);
    if (rc == ERR_OK && op == EVIL_OP_ECHO) {
        assert_int_equal(ret, what);
    }
    return rc;
}

/* The pool is as good as new. */
static void assert_works(struct pixel_pool *p)
{
    static uint8_t               in[100000];
    CLEANUP(buf_done) struct buf out;
    struct errmsg                e = {0};
    buf_init(&out, sizeof(in));
    memset(in, 42, sizeof(in));
    if (tell(p, EVIL_OP_ECHO, 17, (struct bytes){in, sizeof(in)}, &out, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(out.len, sizeof(in));
    assert_memory_equal(out.ptr, in, sizeof(in));
}

static void a_frame_goes_there_and_back(void **state)
{
    (void)state;
    struct pixel_pool *p = pool(1, 0);
    struct pixel_stats s;
    for (int i = 0; i < 3; i++) {
        assert_works(p);
    }
    pixel_get_stats(p, &s);
    assert_int_equal(s.frames, 3);
    assert_int_equal(s.workers, 1);
    assert_int_equal(s.failed + s.crashed + s.timeouts, 0);
    pixel_pool_free(p);
}

static void an_error_comes_back_in_plain_words(void **state)
{
    (void)state;
    struct pixel_pool *p = pool(1, 0);
    struct buf         out;
    struct errmsg      e = {0};
    buf_init(&out, 100);
    assert_int_equal(tell(p, EVIL_OP_ERROR, 0, (struct bytes){0}, &out, &e), ERR_UNSUPPORTED);
    assert_string_equal(e.text, "no ?[31mcolour?");
    assert_int_equal(tell(p, 4711, 0, (struct bytes){0}, &out, &(struct errmsg){0}),
                     ERR_UNSUPPORTED);
    assert_works(p);
    buf_done(&out);
    pixel_pool_free(p);
}

static void whatever_a_worker_does_costs_one_frame(void **state)
{
    (void)state;

    static const struct {
        const char *name;
        enum evil   what;
        const char *words;
        bool        strict; // sanitizers stand in the way
    } cases[] = {
        {"crash", EVIL_CRASH, "crashed", false},
        {"abort", EVIL_ABORT, "crashed", false},
        {"exit", EVIL_EXIT, "crashed (exit 7)", false},
        {"open a file", EVIL_OPEN, "may not do", true},
        {"open a socket", EVIL_SOCKET, "may not do", false},
        {"run a program", EVIL_EXEC, "may not do", false},
        {"another process", EVIL_FORK, "may not do", true},
        {"cut the shared memory", EVIL_CUT, "may not do", true},
        {"kill its parent", EVIL_KILL, "may not do", true},
        {"memory that can be run", EVIL_CODE, "may not do", true},
    };
    struct pixel_pool *p = pool(1, 0);
    struct buf         out;
    uint64_t           crashed = 0;
    buf_init(&out, 100);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct errmsg e = {0};
        if (cases[i].strict && !sandbox_is_strict()) {
            continue;
        }
        enum err rc = tell(p, EVIL_OP_DO, cases[i].what, (struct bytes){0}, &out, &e);
        if (rc != ERR_SYNTAX || strstr(e.text, cases[i].words) == NULL) {
            fail_msg("%s: %s, \"%s\"", cases[i].name, err_name(rc), e.text);
        }
        struct pixel_stats s;
        pixel_get_stats(p, &s);
        assert_int_equal(s.crashed, ++crashed);
        assert_works(p);
    }
    buf_done(&out);
    pixel_pool_free(p);
}

static void an_endless_loop_ends(void **state)
{
    (void)state;
    struct pixel_pool *p = pool(1, 200);
    struct buf         out;
    struct errmsg      e = {0};
    struct pixel_stats s;
    int64_t            begun = clock_mono_ns();
    buf_init(&out, 100);
    assert_int_equal(tell(p, EVIL_OP_DO, EVIL_SPIN, (struct bytes){0}, &out, &e), ERR_SYNTAX);
    assert_non_null(strstr(e.text, "took longer than 200 ms"));
    assert_true(clock_mono_ns() - begun < 10000000000);
    pixel_get_stats(p, &s);
    assert_int_equal(s.timeouts, 1);
    buf_done(&out);
    pixel_pool_free(p);
}

static void lies_are_not_believed(void **state)
{
    (void)state;
    struct pixel_pool *p = pool(1, 0);
    struct buf         out;
    buf_init(&out, 100);
    for (uint32_t i = 0; i < 6; i++) {
        struct errmsg e = {0};
        enum err      rc = tell(p, EVIL_OP_LIE, i, (struct bytes){0}, &out, &e);
        if (rc != ERR_SYNTAX || strstr(e.text, "nonsense") == NULL) {
            fail_msg("lie %u: %s, \"%s\"", i, err_name(rc), e.text);
        }
        assert_int_equal(out.len, 0);
        assert_works(p);
    }
    struct errmsg e = {0};
    assert_int_equal(tell(p, EVIL_OP_LIE, 6, (struct bytes){0}, &out, &e), ERR_SYNTAX);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    buf_done(&out);
    pixel_pool_free(p);
}

static void a_worker_cannot_eat_all_memory(void **state)
{
    (void)state;
    if (!sandbox_is_strict()) {
        skip();
    }
    struct pixel_pool *p = pool(1, 0);
    struct buf         out;
    struct errmsg      e = {0};
    buf_init(&out, 100);
    assert_int_equal(tell(p, EVIL_OP_EAT, 0, (struct bytes){0}, &out, &e), ERR_NOMEM);
    buf_done(&out);
    pixel_pool_free(p);
}

static void what_does_not_fit_the_callers_buffer_is_a_limit(void **state)
{
    (void)state;
    static const uint8_t in[1000];
    struct pixel_pool   *p = pool(1, 0);
    struct buf           out;
    buf_init(&out, 100);
    assert_int_equal(tell(p, EVIL_OP_ECHO, 1, (struct bytes){in, sizeof(in)}, &out, NULL),
                     ERR_LIMIT);
    buf_done(&out);
    assert_works(p);
    pixel_pool_free(p);
}

struct crowd {
    struct pixel_pool *p;
    unsigned           nth;
    atomic_uint        bad;
};

static void crowd_run(void *arg)
{
    struct crowd *c = arg;
    for (uint32_t i = 0; i < 60; i++) {
        uint8_t       in[3000];
        struct errmsg e = {0};
        struct buf    out;
        buf_init(&out, sizeof(in));
        memset(in, (int)(i + c->nth), sizeof(in));
        bool     crash = (i + c->nth) % 20 == 0;
        enum err rc = tell(c->p, crash ? EVIL_OP_DO : EVIL_OP_ECHO, crash ? EVIL_EXIT : i,
                           (struct bytes){in, sizeof(in)}, &out, &e);
        bool     good =
            crash ? rc == ERR_SYNTAX
                      : rc == ERR_OK && out.len == sizeof(in) && memcmp(out.ptr, in, sizeof(in)) == 0;
        atomic_fetch_add(&c->bad, good ? 0 : 1);
        buf_done(&out);
    }
}

static void many_threads_share_few_workers(void **state)
{
    (void)state;

    enum { THREADS = 8 };

    static struct crowd c[THREADS];
    pthread_t           t[THREADS];
    struct pixel_pool  *p = pool(3, 0);
    struct pixel_stats  s;
    for (unsigned i = 0; i < THREADS; i++) {
        c[i].p = p;
        c[i].nth = i;
        assert_int_equal(worker_run("crowd", crowd_run, &c[i], &t[i], NULL), ERR_OK);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(t[i], NULL);
        assert_int_equal(atomic_load(&c[i].bad), 0);
    }
    pixel_get_stats(p, &s);
    assert_int_equal(s.crashed, THREADS * 3);
    assert_int_equal(s.frames, THREADS * 57);
    pixel_pool_free(p);
}

static void a_worker_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct pixel_conf  c = {.program = "/nonexistent/garonne-pixel"};
    struct pixel_pool *p = NULL;
    struct errmsg      e = {0};
    assert_int_equal(pixel_pool_new(&c, &p, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/nonexistent/garonne-pixel"));
    c.program = "/bin/true";
    e = (struct errmsg){0};
    assert_int_equal(pixel_pool_new(&c, &p, &e), ERR_IO);
    assert_non_null(strstr(e.text, "/bin/true is no pixel worker"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_goes_there_and_back),
        cmocka_unit_test(an_error_comes_back_in_plain_words),
        cmocka_unit_test(whatever_a_worker_does_costs_one_frame),
        cmocka_unit_test(an_endless_loop_ends),
        cmocka_unit_test(lies_are_not_believed),
        cmocka_unit_test(a_worker_cannot_eat_all_memory),
        cmocka_unit_test(what_does_not_fit_the_callers_buffer_is_a_limit),
        cmocka_unit_test(many_threads_share_few_workers),
        cmocka_unit_test(a_worker_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
