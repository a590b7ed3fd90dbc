#include <malloc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pixel/worker_wire.h"
#include "sys/sandbox.h"

struct worker {
    const struct pixel_op_row *ops;
    size_t                     n;
    const uint8_t             *in;
    uint8_t                   *out;
};

/* Page faults are dear: memory of one frame serves the next. */
static void keep_memory(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): there is one thread */
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, LIMIT_PIXEL_KEEP);
    (void)mallopt(M_TOP_PAD, 4 << 20);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

static const struct pixel_op_row *op_find(const struct worker *w, uint32_t op)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->ops[i].op == op) {
            return &w->ops[i];
        }
    }
    return NULL;
}

static void answer(const struct wire_answer *a, const void *ret)
{
    struct iovec  iov[] = {{(void *)a, sizeof(*a)}, {(void *)ret, a->ret_len}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    if (sendmsg(WIRE_SOCK, &m, MSG_NOSIGNAL) < 0) {
        _exit(0); // nobody listens
    }
}

static void fail(struct wire_answer *a, enum err rc, const struct errmsg *why)
{
    a->rc = rc;
    memcpy(a->text, why->text, sizeof(a->text));
}

static void serve(const struct worker *w, const struct wire_ask *ask, const void *args)
{
    static uint64_t            ret[WIRE_ARGS / sizeof(uint64_t)];
    struct wire_answer         a = {0};
    struct errmsg              e = {0};
    const struct pixel_op_row *op = op_find(w, ask->op);
    struct buf out = {.ptr = w->out, .size = WIRE_MAP, .max = WIRE_MAP}; // never reallocated
    if (op == NULL || op->args_len != ask->args_len || ask->in_len > WIRE_MAP) {
        fail(&a, ERR_UNSUPPORTED,
             &(struct errmsg){.text = "the pixel worker is of another version"});
        answer(&a, NULL);
        return;
    }
    memset(ret, 0, op->ret_len);
    enum err     rc = op->fn(args, (struct bytes){w->in, (size_t)ask->in_len}, ret, &out, &e);
    struct bytes all = {0};
    rc = rc == ERR_OK ? buf_end(&out, &all) : rc;
    if (rc != ERR_OK) {
        (void)err_set(&e, rc, "more pixels than a frame may have");
        fail(&a, rc, &e);
    } else {
        a.ret_len = op->ret_len;
        a.out_len = all.len;
    }
    answer(&a, ret);
    if (ask->in_len + all.len > LIMIT_PIXEL_KEEP) {
        (void)malloc_trim(0);
    }
}

static void *map(int fd, int prot)
{
    void *p = mmap(NULL, WIRE_MAP, prot, MAP_SHARED, fd, 0);
    return p != MAP_FAILED ? p : NULL;
}

static enum err start(struct worker *w, struct errmsg *e)
{
    struct sandbox_conf wall = {.memory = LIMIT_PIXEL_MEMORY, .keep = WIRE_FDS};
    keep_memory();
    w->in = map(WIRE_IN, PROT_READ);
    w->out = map(WIRE_OUT, PROT_READ | PROT_WRITE);
    if (w->in == NULL || w->out == NULL) {
        return err_set(e, ERR_NOMEM, "cannot map the frames");
    }
    return sandbox_enter(&wall, e);
}

int pixel_worker_run(const struct pixel_op_row *ops, size_t n)
{
    static uint64_t    message[(sizeof(struct wire_ask) + WIRE_ARGS) / sizeof(uint64_t)];
    struct worker      w = {.ops = ops, .n = n};
    struct errmsg      e = {0};
    struct wire_answer hello = {0};
    enum err           rc = start(&w, &e);
    if (rc != ERR_OK) {
        fail(&hello, rc, &e);
    }
    answer(&hello, NULL);
    ssize_t got;
    while (rc == ERR_OK && (got = recv(WIRE_SOCK, message, sizeof(message), 0)) > 0) {
        struct wire_ask ask;
        memcpy(&ask, message, sizeof(ask));
        if ((size_t)got < sizeof(ask) || (size_t)got - sizeof(ask) != ask.args_len) {
            return 1;
        }
        (void)alarm(2 * LIMIT_PIXEL_MS / 1000); // should the client not be there to end it
        serve(&w, &ask, message + sizeof(ask) / sizeof(*message));
        (void)alarm(0);
    }
    _exit(0); // no files to flush, and nothing that exit handlers could do behind the wall
}
