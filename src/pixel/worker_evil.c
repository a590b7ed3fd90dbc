/*
 * A pixel worker with operations that do what a decoder in hostile hands would do.  For
 * worker_test.c.
 */
#include "pixel/worker_evil.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pixel/worker_wire.h"

static enum err evil_echo(const void *args, struct bytes in, void *ret, struct buf *out,
                          struct errmsg *e)
{
    (void)e;
    *(uint32_t *)ret = *(const uint32_t *)args;
    buf_add(out, in);
    return ERR_OK;
}

static enum err evil_error(const void *args, struct bytes in, void *ret, struct buf *out,
                           struct errmsg *e)
{
    (void)args;
    (void)in;
    (void)ret;
    (void)out;
    return err_set(e, ERR_UNSUPPORTED, "no \x1b[31mcolour\n");
}

static void lie(uint32_t rc, uint32_t ret_len, uint64_t out_len, size_t bytes)
{
    static uint8_t     room[8192];
    struct wire_answer a = {.rc = rc, .ret_len = ret_len, .out_len = out_len};
    memset(a.text, 'A', sizeof(a.text)); // without an end
    memcpy(room, &a, sizeof(a));
    (void)send(WIRE_SOCK, room, bytes, 0);
}

static enum err evil_lie(const void *args, struct bytes in, void *ret, struct buf *out,
                         struct errmsg *e)
{
    const size_t head = sizeof(struct wire_answer);
    (void)in;
    (void)ret;
    (void)out;
    (void)e;
    switch (*(const uint32_t *)args) {
    case 0: lie(99, 0, 0, head); break;
    case 1: lie(0, 4, UINT64_MAX, head + 4); break;
    case 2: lie(0, 4, 0, head); break;
    case 3: lie(0, 4000, 0, head + 4000); break;
    case 4: lie(0, 4, 0, 8192); break;
    case 5: lie(0, 4, 0, 3); break;
    default: lie(ERR_SYNTAX, 0, 0, head); break;
    }
    (void)recv(WIRE_SOCK, &(char){0}, 1, 0); // until it is ended
    return ERR_OK;
}

/* What the wall is there for.  Through volatile, so that the compiler sees nothing wrong. */
static enum err evil_do(const void *args, struct bytes in, void *ret, struct buf *out,
                        struct errmsg *e)
{
    volatile uint32_t what = *(const uint32_t *)args;
    (void)in;
    (void)ret;
    (void)out;
    (void)e;
    switch (what) {
    case EVIL_CRASH: __builtin_trap();
    case EVIL_ABORT: abort();
    case EVIL_EXIT: _exit(7);
    case EVIL_SPIN:
        while (what != EVIL_COUNT) {
        }
        break;
    case EVIL_OPEN: (void)open("/etc/passwd", O_RDONLY | O_CLOEXEC); break;
    case EVIL_SOCKET: (void)socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); break;
    case EVIL_EXEC: (void)execl("/bin/true", "true", (char *)NULL); break;
    case EVIL_FORK: (void)fork(); break;
    case EVIL_CUT: return ftruncate(WIRE_OUT, 0) == 0 ? ERR_OK : ERR_IO;
    case EVIL_KILL: (void)kill(getppid(), SIGTERM); break;
    case EVIL_CODE:
        (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        break;
    default: break;
    }
    return ERR_OK;
}

static enum err evil_eat(const void *args, struct bytes in, void *ret, struct buf *out,
                         struct errmsg *e)
{
    (void)args;
    (void)in;
    (void)ret;
    (void)out;
    for (;;) {
        void *volatile p = malloc(64 << 20); // NOLINT(clang-analyzer-unix.Malloc) on purpose
        if (p == NULL) {                     // NOLINT(clang-analyzer-unix.Malloc)
            return err_set(e, ERR_NOMEM, "all eaten");
        }
    }
}

int main(void)
{
    static const struct pixel_op_row ops[] = {
        {EVIL_OP_ECHO, 4, 4, evil_echo}, {EVIL_OP_ERROR, 4, 4, evil_error},
        {EVIL_OP_LIE, 4, 4, evil_lie},   {EVIL_OP_DO, 4, 4, evil_do},
        {EVIL_OP_EAT, 4, 4, evil_eat},
    };
    return pixel_worker_run(ops, sizeof(ops) / sizeof(ops[0]));
}
