#include "sys/metric.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "sys/file.h"

struct about {
    const char *name, *labels, *type, *help; // rows of one name stand together
};

static const struct about abouts[] = {
    [METRIC_HTTP_CONNECTIONS] = {"garonne_http_connections", "", "gauge", "Open HTTP connections"},
    [METRIC_HTTP_REQUESTS_2XX] = {"garonne_http_requests_total", "class=\"2xx\"", "counter",
                                  "HTTP requests by class of status"},
    [METRIC_HTTP_REQUESTS_3XX] = {"garonne_http_requests_total", "class=\"3xx\"", "", ""},
    [METRIC_HTTP_REQUESTS_4XX] = {"garonne_http_requests_total", "class=\"4xx\"", "", ""},
    [METRIC_HTTP_REQUESTS_5XX] = {"garonne_http_requests_total", "class=\"5xx\"", "", ""},
    [METRIC_HTTP_REQUESTS_ABORTED] = {"garonne_http_requests_total", "class=\"aborted\"", "", ""},
};
_Static_assert(sizeof(abouts) / sizeof(abouts[0]) == METRIC__COUNT, "describe every metric");

static const struct about time_abouts[] = {
    [METRIC_HTTP_SECONDS] = {"garonne_http_request_seconds", "", "histogram",
                             "Time from the request line to the last byte of the answer"},
};
_Static_assert(sizeof(time_abouts) / sizeof(time_abouts[0]) == METRIC_TIME__COUNT,
               "describe every histogram");

/* From a small answer in memory to a study over a slow line. */
static const int64_t bounds_us[] = {250,     500,     1000,     2500,    5000,   10000,
                                    25000,   50000,   100000,   250000,  500000, 1000000,
                                    2500000, 5000000, 10000000, 30000000};

enum { BOUNDS = sizeof(bounds_us) / sizeof(bounds_us[0]) };

struct histogram {
    atomic_uint_fast64_t bucket[BOUNDS + 1]; // the last: above all bounds
    atomic_uint_fast64_t sum_us;
};

static atomic_int_fast64_t values[METRIC__COUNT];
static struct histogram    times[METRIC_TIME__COUNT];

void metric_add(enum metric m, int64_t n)
{
    (void)atomic_fetch_add_explicit(&values[m], n, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t value)
{
    atomic_store_explicit(&values[m], value, memory_order_relaxed);
}

void metric_time(enum metric_time m, int64_t ns)
{
    struct histogram *h = &times[m];
    uint64_t          us = ns > 0 ? (uint64_t)ns / 1000 : 0;
    size_t            i = 0;
    while (i < BOUNDS && us > (uint64_t)bounds_us[i]) {
        i++;
    }
    (void)atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

static void head(struct buf *b, const struct about *a)
{
    buf_fmt(b, "# HELP %s %s\n# TYPE %s %s\n", a->name, a->help, a->name, a->type);
}

static void write_times(struct buf *b, enum metric_time m)
{
    const struct about *a = &time_abouts[m];
    struct histogram   *h = &times[m];
    uint64_t            total = 0;
    head(b, a);
    for (size_t i = 0; i < BOUNDS; i++) {
        total += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        buf_fmt(b, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", a->name, (double)bounds_us[i] / 1e6,
                total);
    }
    total += atomic_load_explicit(&h->bucket[BOUNDS], memory_order_relaxed);
    buf_fmt(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", a->name, total);
    buf_fmt(b, "%s_sum %.6f\n%s_count %" PRIu64 "\n", a->name,
            (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6, a->name, total);
}

static int count_descriptors(void)
{
    int  n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL) {
        return 0;
    }
    while (readdir(d) != NULL) { // NOLINT(concurrency-mt-unsafe): the stream is ours alone
        n++;
    }
    (void)closedir(d);
    return n - 3; // two dots, and the folder itself
}

static uint64_t resident_bytes(void)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    uint64_t pages = 0;
    if (file_read_all("/proc/self/statm", &b, NULL) == ERR_OK) {
        struct str  all = {(const char *)b.ptr, b.len};
        const char *second = memchr(all.ptr, ' ', all.len);
        if (second != NULL) {
            size_t rest = all.len - (size_t)(second + 1 - all.ptr);
            size_t n = 0;
            while (n < rest && second[1 + n] >= '0' && second[1 + n] <= '9') {
                n++;
            }
            (void)!parse_u64((struct str){second + 1, n}, &pages);
        }
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_process(struct buf *b)
{
    struct timespec cpu = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    head(b, &(struct about){"process_resident_memory_bytes", "", "gauge", "Resident memory"});
    buf_fmt(b, "process_resident_memory_bytes %" PRIu64 "\n", resident_bytes());
    head(b, &(struct about){"process_open_fds", "", "gauge", "Open file descriptors"});
    buf_fmt(b, "process_open_fds %d\n", count_descriptors());
    head(b, &(struct about){"process_cpu_seconds_total", "", "counter", "Processor time"});
    buf_fmt(b, "process_cpu_seconds_total %.3f\n", (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
}

void metric_write(struct buf *b)
{
    for (size_t i = 0; i < METRIC__COUNT; i++) {
        const struct about *a = &abouts[i];
        int64_t             v = atomic_load_explicit(&values[i], memory_order_relaxed);
        if (a->type[0] != '\0') {
            head(b, a);
        }
        buf_fmt(b, a->labels[0] != '\0' ? "%s{%s} %" PRId64 "\n" : "%s%s %" PRId64 "\n", a->name,
                a->labels, v);
    }
    for (size_t i = 0; i < METRIC_TIME__COUNT; i++) {
        write_times(b, (enum metric_time)i);
    }
    write_process(b);
}
