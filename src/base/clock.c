#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

int64_t clock_mono_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct deadline deadline_in_ms(int64_t ms)
{
    return (struct deadline){clock_mono_ns() + ms * 1000000};
}

int deadline_poll_ms(struct deadline d)
{
    if (d.at_ns == INT64_MAX) {
        return -1;
    }
    int64_t left = d.at_ns - clock_mono_ns();
    if (left <= 0) {
        return 0;
    }
    int64_t ms = (left + 999999) / 1000000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

bool is_deadline_past(struct deadline d)
{
    return d.at_ns != INT64_MAX && clock_mono_ns() >= d.at_ns;
}

void clock_text(int64_t wall_us, char ret[CLOCK_TEXT])
{
    time_t    s = (time_t)(wall_us / 1000000);
    struct tm tm;
    (void)gmtime_r(&s, &tm);
    size_t n = strftime(ret, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(ret + n, CLOCK_TEXT - n, ".%06dZ", (int)(wall_us % 1000000));
}
