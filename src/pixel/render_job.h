#pragma once
/*
 * Rendering as one piece of work for a worker: what is needed of the data set, the frames as they
 * lie, and what is wanted, to the file that is sent.
 *
 * The server makes a lean data set and writes the job (it parses nothing of the pixels); the worker
 * runs it.  Plain bytes in between, so the worker parses everything again behind its wall.
 */
#include "pixel/render.h"

/* Fixed-width, for the wire. */
struct render_args {
    double   center, width, x, y, w, h;
    uint32_t has_window, function, view_w, view_h, quality;
    uint32_t format;   // enum picture_format
    uint32_t delay_ms; // between the frames of a GIF
    uint32_t unused;
    char     syntax[72]; // transfer syntax of the frames
};

struct render_size { // comes back
    uint32_t w, h;
};

struct render_args render_args_of(const struct render_opts *o, enum picture_format f);

/*
 * The data set without what rendering has no use for; of the per-frame functional groups the n
 * items of these frames (numbers from 0), in that order.  ERR_NOMEM: the arena is full.
 */
enum err render_lean(const struct dset *d, const uint32_t *frames, size_t n, struct arena *a,
                     struct dset **ret, struct errmsg *e) MUST_USE;

/* The head of a job; frames follow, each by render_job_frame and its `len` bytes of stream. */
enum err render_job_write(struct buf *to, const struct dset *lean, const struct dset *state,
                          struct errmsg *e) MUST_USE;
void     render_job_frame(struct buf *to, uint32_t number, uint32_t len);

/* As codec_decode. */
typedef enum err render_decoder(struct str syntax_uid, const struct image *said,
                                struct bytes stream, struct image *ret, struct buf *out,
                                struct errmsg *e);

/* All of it: one picture, or, as GIF, all frames one after the other.  out: appended. */
enum err render_job_run(const struct render_args *a, struct bytes in, render_decoder *decode,
                        struct render_size *ret, struct buf *out, struct errmsg *e) MUST_USE;
