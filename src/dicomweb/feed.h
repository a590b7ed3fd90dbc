#pragma once
/*
 * An answer that is made while it is sent: a thread of its own writes it, the event loop sends it,
 * and between them lie at most LIMIT_FEED_BYTES.  For what must be decoded piece by piece and is
 * too large to be made first.
 *
 * At most LIMIT_FEEDS at once.  When the client goes away, feed_write says so to the writer.
 */
#include "http/http.h"

struct feeds; // all of a web surface
struct feed;

enum err feeds_new(struct feeds **ret, struct errmsg *e) MUST_USE;
/* Before http_stop: those at work may finish until the deadline, then they are broken off, and no
 * more are begun. */
void     feeds_stop(struct feeds *f, struct deadline drain);
void     feeds_free(struct feeds *f); // after http_stop

/* On the feed's thread.  Not ERR_OK: the connection is broken off, the only sign left. */
typedef enum err feed_fn(void *arg, struct feed *f, struct errmsg *e);

struct feed_job {
    feed_fn *fn;
    void (*done)(void *arg); // frees arg, on any thread, also when nothing was started
    void       *arg;
    const char *what; // for the log
};

/* Answers r, chunked; on HEAD the job is not run.  Too many at once: 503. */
void     feed_answer(struct feeds *all, struct http_request *r, unsigned status, const char *type,
                     const struct feed_job *job);
/* Waits for room.  ERR_CLOSED: nobody reads any more. */
enum err feed_write(struct feed *f, struct bytes b, struct errmsg *e) MUST_USE;
