#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static atomic_int             least_level = LOG_INFO;
static atomic_bool            phi_shown = false;
static _Thread_local uint64_t thread_id = 0;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

void log_set_level(enum log_level least)
{
    atomic_store(&least_level, (int)least);
}

void log_set_phi(bool on)
{
    atomic_store(&phi_shown, on);
}

void log_set_id(uint64_t id)
{
    thread_id = id;
}

void log_at(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level < atomic_load(&least_level)) {
        return;
    }
    char line[1024], when[CLOCK_TEXT], body[800], id[32] = "";
    clock_text(clock_wall_us(), when);
    if (thread_id != 0) {
        (void)snprintf(id, sizeof(id), " id=%llu", (unsigned long long)thread_id);
    }
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(body, sizeof(body), fmt, ap);
    va_end(ap);
    for (char *p = body; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20) {
            *p = ' ';
        }
    }
    int n =
        snprintf(line, sizeof(line), "%s %s %s%s %s\n", when, level_names[level], event, id, body);
    if (n > 0) {
        size_t len = (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
        line[len - 1] = '\n';
        (void)!write(STDERR_FILENO, line, len);
    }
}

struct log_text log_q(struct str s)
{
    struct log_text t;
    size_t          n = 0;
    t.z[n++] = '"';
    for (size_t i = 0; i < s.len && n < sizeof(t.z) - 3; i++) {
        char c = s.ptr[i];
        if (c == '"' || c == '\\') {
            t.z[n++] = '\\';
        }
        t.z[n++] = (char)((unsigned char)c < 0x20 ? ' ' : c);
    }
    t.z[n++] = '"';
    t.z[n] = '\0';
    return t;
}

struct log_text log_phi(struct str s)
{
    return atomic_load(&phi_shown) ? log_q(s) : (struct log_text){"-"};
}
