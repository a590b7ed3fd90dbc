#pragma once
/*
 * What goes between the pool (worker.c) and a garonne-pixel process (worker_run.c).
 *
 * A message is one datagram of a SOCK_SEQPACKET pair: a head and a fixed struct.  Blobs are in two
 * memory files that both map: descriptor 4 for what goes in, 5 for what comes out, sealed in size.
 * One request at a time.
 *
 * To add an operation: a number in enum pixel_op, a struct of plain fixed-width integers (no bool,
 * no enum, no pointer: the answer comes from a process that may be in hostile hands) for what it is
 * told and one for what it tells, a function and a line in the table of pixel_main.c, and a caller
 * that uses pixel_call() and checks every field that comes back.
 */
#include "base/limits.h"
#include "pixel/image.h"
#include "pixel/worker.h"

enum pixel_op {
    PIXEL_OP_DECODE,
    PIXEL_OP_ENCODE,
    PIXEL_OP_RENDER,
    PIXEL_OP_TEST = 1000, // and more: of test programs only
};

enum {
    WIRE_SOCK = 3, // descriptors of a worker
    WIRE_IN = 4,
    WIRE_OUT = 5,
    WIRE_FDS = 6,
    WIRE_ARGS = 4 << 10, // largest fixed struct
    WIRE_MAP = LIMIT_PIXEL_MAP,
};

struct wire_ask {
    uint32_t op;
    uint32_t args_len;
    uint64_t in_len;
};

struct wire_answer {
    uint32_t rc;
    uint32_t ret_len; // 0 unless rc is ERR_OK
    uint64_t out_len;
    char     text[248];
};

/* ---- the pool's side */
struct pixel_ask {
    uint32_t     op;
    const void  *args;
    size_t       args_len;
    struct bytes in;
    void        *ret; // exactly ret_len bytes come back
    size_t       ret_len;
};

/* Errors as pixel_decode.  What is in ret and out is not to be trusted.  out: appended. */
enum err pixel_call(struct pixel_pool *p, const struct pixel_ask *ask, struct buf *out,
                    struct errmsg *e) MUST_USE;

/* ---- the worker's side */
/* out has room for WIRE_MAP bytes and may only grow. */
typedef enum err pixel_op_fn(const void *args, struct bytes in, void *ret, struct buf *out,
                             struct errmsg *e);

struct pixel_op_row {
    uint32_t     op;
    uint32_t     args_len, ret_len;
    pixel_op_fn *fn;
};

/* main() of a worker: goes behind the wall and serves until the client hangs up. */
int pixel_worker_run(const struct pixel_op_row *ops, size_t n);

/* ---- struct image on the wire */
struct wire_image {
    uint32_t cols, rows, samples, allocated, stored, high_bit;
    uint32_t is_signed, planar, photometric, kind;
};

struct wire_image wire_of_image(const struct image *i);
/* ERR_SYNTAX: no image of ours. */
enum err image_of_wire(const struct wire_image *w, struct image *ret, struct errmsg *e) MUST_USE;

enum { WIRE_UID = 65 };

struct wire_decode {
    struct wire_image said;
    uint32_t          reduce;
    char              syntax[WIRE_UID];
};

struct wire_encode {
    struct wire_image image;
    uint32_t          quality, levels;
    char              syntax[WIRE_UID];
};
