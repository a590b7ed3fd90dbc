#pragma once
/*
 * Rendering in a worker (pixel/worker.h).
 */
#include "pixel/render_job.h"
#include "pixel/worker.h"

/* As render_job_run.  Errors as pixel_decode.  out: appended. */
enum err pixel_render(struct pixel_pool *p, const struct render_args *a, struct bytes job,
                      struct render_size *ret, struct buf *out, struct errmsg *e) MUST_USE;
