#pragma once
/*
 * Structured log: one line on standard error per event, `key=value`, fixed event names.
 *
 *   2026-11-24T06:00:00.000000Z info assoc.open id=12 peer=127.0.0.1 calling=CT1 called=PURPAN
 *
 * Libraries return errors; programs log them once, where they decide.  Values with spaces are
 * quoted by the caller through log_q().  Patient data goes only through log_phi, which prints
 * "-" unless LOG_PHI is on.  Any thread; a line is written with one write(2).
 */
#include "base/attr.h"
#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level least);
void log_set_phi(bool on);
/* The id that is added as `id=` to every line of this thread (association, request); 0: none. */
void log_set_id(uint64_t id);

void log_at(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);

#define log_debug(event, ...) log_at(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_at(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_at(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, __VA_ARGS__)

/* A quoted, escaped copy for a log value, cut at the size of the text. */
struct log_text {
    char z[256];
};

struct log_text log_q(struct str s);
struct log_text log_phi(struct str s);
