#include "pixel/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/utf8.h"
#include "pixel/worker_wire.h"
#include "sys/sandbox.h"

enum { HIGH_FD = 16 }; // descriptors meant for a worker lie above those it gets them as

struct slot {
    pid_t    pid;  // 0: no process, one is started when it is needed
    int      sock; // -1
    int      in_fd, out_fd;
    uint8_t *in; // mapped once, kept from one process of the slot to the next
    uint8_t *out;
    bool     busy;
};

struct pixel_pool {
    char           program[PATH_MAX];
    struct lock    lock; // busy of each slot
    pthread_cond_t idle;
    int64_t        frame_ms;
    unsigned       n;
    struct slot   *slots;

    struct {
        _Atomic uint64_t frames, failed, crashed, timeouts;
    } stats;
};

static enum err os_error(struct errmsg *e, const char *what)
{
    char text[64];
    return err_set(e, errno == ENOMEM ? ERR_NOMEM : ERR_IO, "%s: %s", what,
                   strerror_r(errno, text, sizeof(text)));
}

/* ---- shared memory */

static int move_high(int fd)
{
    int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return high;
}

/* Pages are there once they are touched.  Nobody can change the size: a worker that is not ours any
 * more could otherwise cut it while we read. */
static enum err shared(const char *name, int *ret_fd, uint8_t **ret, struct errmsg *e)
{
    *ret_fd = move_high(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (*ret_fd < 0 || ftruncate(*ret_fd, WIRE_MAP) != 0 ||
        fcntl(*ret_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return os_error(e, "memory shared with a pixel worker");
    }
    void *p = mmap(NULL, WIRE_MAP, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
    if (p == MAP_FAILED) {
        return os_error(e, "memory shared with a pixel worker");
    }
    *ret = p;
    return ERR_OK;
}

/* A large frame must not hold its memory for ever. */
static void shrink(const struct slot *s, uint64_t in_len, uint64_t out_len)
{
    const int      fds[] = {s->in_fd, s->out_fd};
    const uint64_t len[] = {in_len, out_len};
    for (size_t i = 0; i < 2; i++) {
        if (len[i] > LIMIT_PIXEL_KEEP) {
            (void)fallocate(fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LIMIT_PIXEL_KEEP,
                            WIRE_MAP - LIMIT_PIXEL_KEEP);
        }
    }
}

/* ---- one process */

static enum err spawn(const struct pixel_pool *p, struct slot *s, int theirs, struct errmsg *e)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t          attr;
    sigset_t                   none, all;
    char                      *argv[] = {(char *)"garonne-pixel", NULL};
    char                      *env[] = {NULL};
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawnattr_init(&attr);
    int rc = 0;
    for (int fd = 0; rc == 0 && fd < (sandbox_is_strict() ? 3 : 2); fd++) {
        rc = posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    }
    rc = rc == 0 ? posix_spawn_file_actions_adddup2(&files, theirs, WIRE_SOCK) : rc;
    rc = rc == 0 ? posix_spawn_file_actions_adddup2(&files, s->in_fd, WIRE_IN) : rc;
    rc = rc == 0 ? posix_spawn_file_actions_adddup2(&files, s->out_fd, WIRE_OUT) : rc;
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setpgroup(&attr, 0); // ^C ends the server, which ends its workers
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    rc = rc == 0 ? posix_spawn(&s->pid, p->program, &files, &attr, argv, env) : rc;
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attr);
    if (rc != 0) {
        errno = rc;
        s->pid = 0;
        (void)os_error(e, p->program);
        err_context(e, "the pixel worker cannot be started");
        return ERR_IO;
    }
    return ERR_OK;
}

/* The process is gone afterwards; the wait status of it. */
static int reap(struct slot *s)
{
    int status = 0;
    if (s->sock >= 0) {
        (void)close(s->sock);
        s->sock = -1;
    }
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR) {
        }
        s->pid = 0;
    }
    return status;
}

/* An answer's head and what belongs to it; ERR_CLOSED: hung up; ERR_TIMEOUT. */
static enum err receive(const struct slot *s, struct wire_answer *ret, void *body, size_t room,
                        size_t *ret_len, int64_t ms)
{
    struct deadline until = deadline_in_ms(ms);
    struct pollfd   pf = {.fd = s->sock, .events = POLLIN};
    int             ready;
    while ((ready = poll(&pf, 1, deadline_poll_ms(until))) < 0 && errno == EINTR) {
    }
    if (ready == 0) {
        return ERR_TIMEOUT;
    }
    struct iovec  iov[] = {{ret, sizeof(*ret)}, {body, room}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t       got = ready > 0 ? recvmsg(s->sock, &m, MSG_DONTWAIT) : -1;
    if (got <= 0) {
        return ERR_CLOSED;
    }
    if ((size_t)got < sizeof(*ret) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return ERR_SYNTAX;
    }
    *ret_len = (size_t)got - sizeof(*ret);
    return ERR_OK;
}

/* Words of a process that may be in hostile hands: one line of text. */
static void plain(char text[static 248])
{
    struct str is_text;
    text[247] = '\0';
    bool utf8 = utf8_check((struct bytes){(const uint8_t *)text, strlen(text)}, &is_text);
    for (char *c = text; *c != '\0'; c++) {
        unsigned char v = (unsigned char)*c;
        if (v < 0x20 || v == 0x7F || (v > 0x7F && !utf8)) {
            *c = '?';
        }
    }
}

static enum err start(const struct pixel_pool *p, struct slot *s, struct errmsg *e)
{
    int                fds[2];
    struct wire_answer hello = {0};
    size_t             len = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return os_error(e, "socket of a pixel worker");
    }
    s->sock = fds[0];
    int theirs = move_high(fds[1]);
    if (theirs < 0) {
        (void)reap(s);
        return os_error(e, "socket of a pixel worker");
    }
    enum err rc = spawn(p, s, theirs, e);
    (void)close(theirs);
    if (rc == ERR_OK && receive(s, &hello, NULL, 0, &len, LIMIT_PIXEL_START_MS) != ERR_OK) {
        rc = err_set(e, ERR_IO, "%.180s is no pixel worker, or cannot run here", p->program);
    } else if (rc == ERR_OK && hello.rc != ERR_OK) {
        plain(hello.text);
        rc = err_set(e, ERR_IO, "the pixel worker cannot shut itself in: %s", hello.text);
    }
    if (rc != ERR_OK) {
        (void)reap(s);
    }
    return rc;
}

/* ---- the pool */

static enum err find_program(const struct pixel_conf *c, char ret[PATH_MAX], struct errmsg *e)
{
    char    self[PATH_MAX];
    ssize_t n = c->program == NULL ? readlink("/proc/self/exe", self, sizeof(self) - 1) : 0;
    if (n < 0) {
        return os_error(e, "/proc/self/exe");
    }
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL) {
        slash[1] = '\0';
    }
    int k = c->program != NULL ? snprintf(ret, PATH_MAX, "%s", c->program)
                               : snprintf(ret, PATH_MAX, "%sgaronne-pixel", self);
    if (k >= PATH_MAX) {
        return err_set(e, ERR_LIMIT, "the path of the pixel worker is too long");
    }
    return access(ret, X_OK) == 0
               ? ERR_OK
               : err_set(e, ERR_NOTFOUND, "the pixel worker %.180s is not there or not a program",
                         ret);
}

static struct slot *slot_take(struct pixel_pool *p)
{
    struct slot *s = NULL;
    lock_take(&p->lock);
    while (s == NULL) {
        for (unsigned i = 0; i < p->n; i++) {
            struct slot *x = &p->slots[i];
            if (!x->busy && (s == NULL || (s->pid == 0 && x->pid != 0))) {
                s = x; // one that runs, if there is
            }
        }
        if (s == NULL) {
            lock_wait(&p->lock, &p->idle);
        }
    }
    s->busy = true;
    lock_give(&p->lock);
    return s;
}

static void slot_give(struct pixel_pool *p, struct slot *s)
{
    lock_take(&p->lock);
    s->busy = false;
    (void)pthread_cond_signal(&p->idle);
    lock_give(&p->lock);
}

enum err pixel_pool_new(const struct pixel_conf *c, struct pixel_pool **ret, struct errmsg *e)
{
    struct pixel_pool *p = calloc(1, sizeof(*p)); // allow-banned: _free below
    long               cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned           n = c->workers > 0 ? c->workers : cpus > 0 ? (unsigned)cpus : 1;
    n = n < LIMIT_PIXEL_WORKERS ? n : LIMIT_PIXEL_WORKERS;
    if (p == NULL || (p->slots = calloc(n, sizeof(*p->slots))) == NULL) { // allow-banned: as above
        free(p);
        return err_set(e, ERR_NOMEM, "pixel workers");
    }
    lock_init(&p->lock, LOCK_QUEUE);
    (void)pthread_cond_init(&p->idle, NULL);
    p->n = n;
    p->frame_ms = c->frame_ms > 0 ? c->frame_ms : LIMIT_PIXEL_MS;
    for (unsigned i = 0; i < n; i++) {
        p->slots[i] = (struct slot){.sock = -1, .in_fd = -1, .out_fd = -1};
    }
    enum err rc = find_program(c, p->program, e);
    for (unsigned i = 0; rc == ERR_OK && i < n; i++) {
        rc = shared("pixel-in", &p->slots[i].in_fd, &p->slots[i].in, e);
        rc = rc == ERR_OK ? shared("pixel-out", &p->slots[i].out_fd, &p->slots[i].out, e) : rc;
    }
    rc = rc == ERR_OK ? start(p, &p->slots[0], e) : rc; // whether it works at all
    if (rc != ERR_OK) {
        pixel_pool_free(p);
        return rc;
    }
    *ret = p;
    return ERR_OK;
}

static void slot_unmap(int fd, uint8_t *at)
{
    if (at != NULL) {
        (void)munmap(at, WIRE_MAP);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

void pixel_pool_free(struct pixel_pool *p)
{
    if (p == NULL) {
        return;
    }
    for (unsigned i = 0; i < p->n; i++) {
        (void)reap(&p->slots[i]);
        slot_unmap(p->slots[i].in_fd, p->slots[i].in);
        slot_unmap(p->slots[i].out_fd, p->slots[i].out);
    }
    (void)pthread_cond_destroy(&p->idle);
    lock_done(&p->lock);
    free(p->slots);
    free(p);
}

void pixel_get_stats(struct pixel_pool *p, struct pixel_stats *ret)
{
    *ret = (struct pixel_stats){
        .frames = atomic_load(&p->stats.frames),
        .failed = atomic_load(&p->stats.failed),
        .crashed = atomic_load(&p->stats.crashed),
        .timeouts = atomic_load(&p->stats.timeouts),
        .workers = p->n,
    };
}

/* ---- a request */

static enum err send_ask(const struct slot *s, const struct pixel_ask *ask)
{
    struct wire_ask head = {
        .op = ask->op, .args_len = (uint32_t)ask->args_len, .in_len = ask->in.len};
    struct iovec  iov[] = {{&head, sizeof(head)}, {(void *)ask->args, ask->args_len}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    if (ask->in.len > 0) {
        memcpy(s->in, ask->in.ptr, ask->in.len);
    }
    return sendmsg(s->sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ? ERR_OK : ERR_CLOSED;
}

/* The worker did not finish: what happened, in words; it is gone. */
static enum err lost(struct pixel_pool *p, struct slot *s, enum err rc, struct errmsg *e)
{
    int status = reap(s);
    if (rc == ERR_TIMEOUT) {
        atomic_fetch_add(&p->stats.timeouts, 1);
        return err_set(e, ERR_SYNTAX, "the decoder took longer than %" PRId64 " ms", p->frame_ms);
    }
    atomic_fetch_add(&p->stats.crashed, 1);
    if (rc != ERR_CLOSED) {
        return err_set(e, ERR_SYNTAX, "the decoder answered nonsense");
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS
               ? err_set(e, ERR_SYNTAX, "the decoder did what it may not do")
               : err_set(e, ERR_SYNTAX, "the decoder crashed (%s %d)",
                         WIFSIGNALED(status) ? "signal" : "exit",
                         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Everything in the answer is as hostile as the stream that the worker was given. */
static bool is_sane(const struct wire_answer *a, size_t body, const struct pixel_ask *ask)
{
    bool fits =
        a->rc < ERR__COUNT && a->rc != ERR_MORE && a->ret_len == body && a->out_len <= WIRE_MAP;
    return fits && (a->rc != ERR_OK || body == ask->ret_len);
}

static enum err ask_slot(struct pixel_pool *p, struct slot *s, const struct pixel_ask *ask,
                         struct buf *out, struct errmsg *e)
{
    uint8_t            body[WIRE_ARGS];
    struct wire_answer a = {0};
    size_t             len = 0;
    enum err           rc = s->pid == 0 ? start(p, s, e) : ERR_OK;
    if (rc != ERR_OK) {
        return rc;
    }
    rc = send_ask(s, ask);
    rc = rc == ERR_OK ? receive(s, &a, body, sizeof(body), &len, p->frame_ms) : rc;
    if (rc == ERR_OK && !is_sane(&a, len, ask)) {
        rc = ERR_SYNTAX;
    }
    if (rc != ERR_OK) {
        return lost(p, s, rc, e);
    }
    if (a.rc != ERR_OK) {
        plain(a.text);
        return err_set(e, (enum err)a.rc, "%s", a.text);
    }
    memcpy(ask->ret, body, len);
    buf_add(out, (struct bytes){s->out, (size_t)a.out_len});
    shrink(s, ask->in.len, a.out_len);
    return out->err == ERR_OK
               ? ERR_OK
               : err_set(e, out->err, "no room for %zu bytes of pixels", (size_t)a.out_len);
}

enum err pixel_call(struct pixel_pool *p, const struct pixel_ask *ask, struct buf *out,
                    struct errmsg *e)
{
    if (ask->in.len > WIRE_MAP || ask->args_len > WIRE_ARGS || ask->ret_len > WIRE_ARGS) {
        return err_set(e, ERR_LIMIT, "a frame of %zu bytes is too large", ask->in.len);
    }
    struct slot *s = slot_take(p);
    enum err     rc = ask_slot(p, s, ask, out, e);
    slot_give(p, s);
    atomic_fetch_add(rc == ERR_OK ? &p->stats.frames : &p->stats.failed, 1);
    return rc;
}

/* ---- codecs */

static enum err put_uid(char to[WIRE_UID], struct str uid, struct errmsg *e)
{
    if (uid.len >= WIRE_UID) {
        return err_set(e, ERR_UNSUPPORTED, "no transfer syntax has such a long UID");
    }
    memcpy(to, uid.ptr, uid.len);
    return ERR_OK;
}

/* Takes back what was appended if the image is not one, or not of that many bytes. */
static enum err image_back(const struct wire_image *w, bool native, size_t before, struct buf *out,
                           struct image *ret, struct errmsg *e)
{
    struct image i;
    size_t       want = 0;
    enum err     rc = image_of_wire(w, &i, e);
    rc = rc == ERR_OK ? image_bytes(&i, &want, e) : rc;
    if (rc == ERR_OK && native && want != out->len - before) {
        rc = err_set(e, ERR_SYNTAX, "%zu bytes of pixels instead of %zu", out->len - before, want);
    }
    if (rc != ERR_OK) {
        out->len = before;
        return rc;
    }
    *ret = i;
    return ERR_OK;
}

/* NOLINTNEXTLINE(readability-function-size): eight parameters, agreed between the modules */
enum err pixel_decode(struct pixel_pool *p, struct str syntax_uid, const struct image *said,
                      struct bytes stream, uint32_t reduce, struct image *ret, struct buf *out,
                      struct errmsg *e)
{
    struct wire_image  got = {0};
    struct wire_decode args = {.said = wire_of_image(said), .reduce = reduce};
    struct pixel_ask   ask = {.op = PIXEL_OP_DECODE,
                              .args = &args,
                              .args_len = sizeof(args),
                              .in = stream,
                              .ret = &got,
                              .ret_len = sizeof(got)};
    const size_t       before = out->len;
    enum err           rc = put_uid(args.syntax, syntax_uid, e);
    rc = rc == ERR_OK ? pixel_call(p, &ask, out, e) : rc;
    return rc == ERR_OK ? image_back(&got, true, before, out, ret, e) : rc;
}

/* NOLINTNEXTLINE(readability-function-size): as above */
enum err pixel_encode(struct pixel_pool *p, struct str syntax_uid, const struct image *i,
                      struct bytes pixels, const struct codec_opts *o, struct image *ret,
                      struct buf *out, struct errmsg *e)
{
    struct wire_image  got = {0};
    struct wire_encode args = {.image = wire_of_image(i)};
    struct pixel_ask   ask = {.op = PIXEL_OP_ENCODE,
                              .args = &args,
                              .args_len = sizeof(args),
                              .in = pixels,
                              .ret = &got,
                              .ret_len = sizeof(got)};
    const size_t       before = out->len;
    enum err           rc = put_uid(args.syntax, syntax_uid, e);
    if (o != NULL) {
        args.quality = o->quality;
        args.levels = o->levels;
    }
    rc = rc == ERR_OK ? pixel_call(p, &ask, out, e) : rc;
    return rc == ERR_OK ? image_back(&got, false, before, out, ret, e) : rc;
}
