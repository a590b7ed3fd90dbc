#pragma once
/*
 * A request whose body is worked on while it arrives: a thread of its own reads what the event loop
 * receives, and between them lie at most LIMIT_UPLOAD_BYTES, so memory is the same for a body of
 * any size and a slow disk slows the sender down.  The thread may wait for disks and databases.
 *
 * The request is the thread's until its first upload_read, and again after the one that gave the
 * end of the body: there it looks at headers, and answers.
 *
 * At most LIMIT_UPLOADS at once; more are answered 503.
 */
#include "http/http.h"

struct uploads; // all of a web surface
struct upload;

enum err uploads_new(struct uploads **ret, struct errmsg *e) MUST_USE;
/* Before http_stop: those at work may finish until the deadline, then they are broken off, and no
 * more are begun. */
void     uploads_stop(struct uploads *all, struct deadline drain);
void     uploads_free(struct uploads *all); // after http_stop

/* On a thread of its own.  Answers before the first upload_read, or after the end, or not at all
 * when upload_read failed. */
typedef void upload_fn(struct upload *u, struct http_request *r, void *arg);

/* From the route's begin; its handle must be upload_end. */
void     upload_begin(struct uploads *all, struct http_request *r, upload_fn *fn, void *arg);
void     upload_end(struct http_request *r, void *arg);
/* The next piece, a view until the next call; empty: the end.  ERR_CLOSED: the sender has gone. */
enum err upload_read(struct upload *u, struct bytes *ret, struct errmsg *e) MUST_USE;
