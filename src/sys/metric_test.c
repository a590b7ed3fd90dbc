#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/num.h"
#include "sys/metric.h"

static uint64_t value_of(const char *row)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    metric_write(&b);
    buf_u8(&b, 0);
    assert_int_equal(b.err, ERR_OK);
    const char *at = strstr((const char *)b.ptr, row);
    if (at == NULL) {
        fail_msg("no %s in %s", row, (const char *)b.ptr);
        return 0;
    }
    uint64_t n = 0;
    at += strlen(row);
    assert_true(parse_u64((struct str){at, strspn(at, "0123456789")}, &n));
    return n;
}

static void counts_and_gauges_are_written(void **state)
{
    (void)state;
    metric_add(METRIC_HTTP_REQUESTS_4XX, 2);
    metric_set(METRIC_HTTP_CONNECTIONS, 7);
    metric_add(METRIC_HTTP_CONNECTIONS, -2);
    assert_int_equal(value_of("\ngaronne_http_requests_total{class=\"4xx\"} "), 2);
    assert_int_equal(value_of("\ngaronne_http_connections "), 5);
    assert_int_equal(value_of("\ngaronne_http_requests_total{class=\"aborted\"} "), 0);
    assert_true(value_of("\nprocess_resident_memory_bytes ") > 100000);
    assert_true(value_of("\nprocess_open_fds ") >= 3);
}

static void a_histogram_adds_up(void **state)
{
    (void)state;
    metric_time(METRIC_HTTP_SECONDS, 100);                          // 0 us
    metric_time(METRIC_HTTP_SECONDS, 250000);                       // on the first bound
    metric_time(METRIC_HTTP_SECONDS, 251000);                       // just above it
    metric_time(METRIC_HTTP_SECONDS, (int64_t)60 * 1000 * 1000000); // above all
    assert_int_equal(value_of("_seconds_bucket{le=\"0.00025\"} "), 2);
    assert_int_equal(value_of("_seconds_bucket{le=\"0.0005\"} "), 3);
    assert_int_equal(value_of("_seconds_bucket{le=\"30\"} "), 3);
    assert_int_equal(value_of("_seconds_bucket{le=\"+Inf\"} "), 4);
    assert_int_equal(value_of("_seconds_count "), 4);
    assert_int_equal(value_of("_seconds_sum "), 60);
}

static void *add_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100000; i++) {
        metric_add(METRIC_HTTP_REQUESTS_2XX, 1);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, add_many, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
    }
    assert_int_equal(value_of("{class=\"2xx\"} "), 400000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_gauges_are_written),
        cmocka_unit_test(a_histogram_adds_up),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
