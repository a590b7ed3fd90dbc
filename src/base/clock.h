#pragma once
/*
 * Time.  Monotonic nanoseconds for deadlines and measures; wall-clock microseconds since the epoch
 * (UTC) for what is stored.  Any thread.
 */
#include "base/attr.h"
#include "base/slice.h"

int64_t clock_mono_ns(void);
int64_t clock_wall_us(void);

/* An instant on the monotonic clock; DEADLINE_NEVER waits for ever. */
struct deadline {
    int64_t at_ns;
};

#define DEADLINE_NEVER ((struct deadline){INT64_MAX})

struct deadline deadline_in_ms(int64_t ms);
/* Milliseconds left for poll(2): 0 once passed, -1 for never, never more than INT_MAX. */
int             deadline_poll_ms(struct deadline d);
bool            is_deadline_past(struct deadline d);

/* "2026-11-24T06:00:00.123456Z"; ret holds at least CLOCK_TEXT bytes. */
enum { CLOCK_TEXT = 32 };

void clock_text(int64_t wall_us, char ret[CLOCK_TEXT]);
