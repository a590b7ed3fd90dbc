#pragma once
/*
 * Counters, gauges and histograms of the node, in the text form that Prometheus reads.
 *
 * A closed list, like limits.h: whoever counts something new adds a row here and one in metric.c.
 * The values are the one thing a process has once, so they are global; an update is one atomic
 * addition.  Any thread.
 */
#include "base/buf.h"

enum metric {
    METRIC_HTTP_CONNECTIONS, // gauge
    METRIC_HTTP_REQUESTS_2XX,
    METRIC_HTTP_REQUESTS_3XX,
    METRIC_HTTP_REQUESTS_4XX,
    METRIC_HTTP_REQUESTS_5XX,
    METRIC_HTTP_REQUESTS_ABORTED, // the client went away
    METRIC__COUNT
};

enum metric_time { METRIC_HTTP_SECONDS, METRIC_TIME__COUNT }; // histograms of durations

void metric_add(enum metric m, int64_t n); // counters grow; gauges go down, too
void metric_set(enum metric m, int64_t value);
void metric_time(enum metric_time m, int64_t ns);
/* All of them, and memory, descriptors and processor time of the process. */
void metric_write(struct buf *b);
