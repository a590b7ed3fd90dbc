#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* New folders: the group may look (backup, an operator with tar), the world may not. */
enum { DIR_MODE = 0750 };

static struct {
    atomic_uint left;
    atomic_int  errnum;
} faults[FAULT__COUNT];

void file_fault_set(enum file_fault kind, unsigned n, int errnum)
{
    atomic_store(&faults[kind].errnum, errnum);
    atomic_store(&faults[kind].left, n);
}

/* True, with errno set, when this call is the one that a test wants to fail. */
static bool is_faulted(enum file_fault kind)
{
    unsigned left = atomic_load_explicit(&faults[kind].left, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&faults[kind].left, &left, left - 1)) {
            errno = atomic_load(&faults[kind].errnum);
            return left == 1;
        }
    }
    return false;
}

static enum err errno_code(int n)
{
    switch (n) {
    case ENOSPC:
    case EDQUOT: return ERR_LIMIT;
    case ENOENT: return ERR_NOTFOUND;
    case EEXIST: return ERR_EXISTS;
    default: return ERR_IO;
    }
}

enum err file_errno(struct errmsg *e, const char *what, const char *path)
{
    int         n = errno;
    const char *why = strerrordesc_np(n);
    return err_set(e, errno_code(n), "%s %.170s: %s", what, path, why != NULL ? why : "?");
}

/* The same for a descriptor; the kernel knows the name, and errors are rare enough to ask it. */
static enum err fd_errno(struct errmsg *e, const char *what, int fd)
{
    int     n = errno;
    char    link[32], path[PATH_MAX];
    ssize_t len = -1;
    if (e != NULL) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        len = readlink(link, path, sizeof(path) - 1);
    }
    path[len < 0 ? 0 : len] = '\0';
    errno = n;
    return file_errno(e, what, path);
}

enum err file_open(const char *path, int flags, unsigned mode, int *ret_fd, struct errmsg *e)
{
    int fd = -1;
    if (!is_faulted(FAULT_OPEN)) {
        do {
            fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
        } while (fd < 0 && errno == EINTR);
    }
    if (fd < 0) {
        return file_errno(e, "open", path);
    }
    *ret_fd = fd;
    return ERR_OK;
}

void file_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

static bool is_offset(uint64_t at, size_t n)
{
    uint64_t end;
    return !__builtin_add_overflow(at, (uint64_t)n, &end) && end <= INT64_MAX;
}

enum err file_read_at(int fd, uint64_t at, void *to, size_t n, size_t *ret_n, struct errmsg *e)
{
    uint8_t *p = to;
    size_t   got = 0;
    if (!is_offset(at, n)) {
        return err_set(e, ERR_IO, "read of %zu bytes at %llu", n, (unsigned long long)at);
    }
    while (got < n) {
        ssize_t r = pread(fd, p + got, n - got, (off_t)(at + got));
        if (r == 0) {
            break;
        }
        if (r > 0) {
            got += (size_t)r;
        } else if (errno != EINTR) {
            return fd_errno(e, "read", fd);
        }
    }
    *ret_n = got;
    return ERR_OK;
}

enum err file_read_full(int fd, uint64_t at, void *to, size_t n, struct errmsg *e)
{
    size_t   got = 0;
    enum err rc = file_read_at(fd, at, to, n, &got, e);
    if (rc == ERR_OK && got < n) {
        errno = EIO;
        rc = fd_errno(e, "read", fd);
        err_context(e, "%zu of %zu bytes at %llu", got, n, (unsigned long long)at);
    }
    return rc;
}

enum err file_write_at(int fd, uint64_t at, struct bytes b, struct errmsg *e)
{
    size_t done = 0;
    if (!is_offset(at, b.len)) {
        return err_set(e, ERR_IO, "write of %zu bytes at %llu", b.len, (unsigned long long)at);
    }
    if (is_faulted(FAULT_WRITE)) {
        return fd_errno(e, "write", fd);
    }
    while (done < b.len) {
        ssize_t w = pwrite(fd, b.ptr + done, b.len - done, (off_t)(at + done));
        if (w > 0) {
            done += (size_t)w;
        } else if (w == 0 || errno != EINTR) {
            errno = w == 0 ? EIO : errno;
            return fd_errno(e, "write", fd);
        }
    }
    return ERR_OK;
}

/* Reads until the end of the file, the limit of the buffer, or an error. */
static enum err read_to_end(int fd, size_t guess, struct buf *out, struct errmsg *e)
{
    uint8_t over;
    for (size_t want = guess;; want = 64 << 10) {
        size_t room = out->max - out->len;
        want = want < room ? want : room;
        uint8_t *p = room > 0 ? buf_grow(out, want) : &over;
        if (p == NULL) {
            return err_set(e, out->err, "no memory for %zu bytes", want);
        }
        size_t  ask = room > 0 ? want : 1;
        ssize_t r;
        do {
            r = read(fd, p, ask);
        } while (r < 0 && errno == EINTR);
        if (room > 0) {
            out->len -= want - (r > 0 ? (size_t)r : 0);
        }
        if (r <= 0) {
            return r == 0 ? ERR_OK : fd_errno(e, "read", fd);
        }
        if (room == 0) {
            return err_set(e, ERR_LIMIT, "file is larger than %zu bytes", out->max);
        }
    }
}

enum err file_read_all(const char *path, struct buf *out, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    struct stat             st;
    size_t                  before = out->len;
    if (out->err != ERR_OK) {
        return err_set(e, out->err, "read %.170s: buffer has failed before", path);
    }
    enum err rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (fstat(fd, &st) != 0) {
        return file_errno(e, "stat", path);
    }
    /* One byte more than the size, so that the end is seen without a second growth. */
    size_t guess = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096;
    rc = read_to_end(fd, guess, out, e);
    if (rc != ERR_OK) {
        out->len = before;
        err_context(e, "read %s", path);
    }
    return rc;
}

static enum err sync_fd(int fd, bool whole, struct errmsg *e)
{
    int r = -1;
    if (!is_faulted(FAULT_SYNC)) {
        do {
            r = whole ? fsync(fd) : fdatasync(fd);
        } while (r != 0 && errno == EINTR);
    }
    return r == 0 ? ERR_OK : fd_errno(e, "sync", fd);
}

enum err file_sync(int fd, struct errmsg *e)
{
    return sync_fd(fd, false, e);
}

enum err file_sync_dir_of(const char *path, struct errmsg *e)
{
    char        dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t      len = slash == NULL ? 1 : (size_t)(slash - path) + 1;
    if (len >= sizeof(dir)) {
        errno = ENAMETOOLONG;
        return file_errno(e, "open folder of", path);
    }
    memcpy(dir, slash == NULL ? "." : path, len);
    dir[len] = '\0';

    CLEANUP(file_close) int fd = -1;
    enum err                rc = file_open(dir, O_RDONLY | O_DIRECTORY, 0, &fd, e);
    /* fsync: on ext4 fdatasync of a folder may leave a new entry out. */
    return rc != ERR_OK ? rc : sync_fd(fd, true, e);
}

/* One folder, whose parent exists.  One that another thread makes at the same moment is as good:
 * the journal orders its entry before everything we will sync below it. */
static enum err make_dir(const char *path, struct errmsg *e)
{
    struct stat st;
    if (mkdir(path, DIR_MODE) == 0) {
        return file_sync_dir_of(path, e);
    }
    int n = errno;
    if (n == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return ERR_OK;
    }
    errno = n == EEXIST ? ENOTDIR : n;
    return file_errno(e, "make folder", path);
}

enum err file_make_dirs(const char *path, struct errmsg *e)
{
    char        p[PATH_MAX];
    struct stat st;
    size_t      len = strlen(path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return ERR_OK;
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    if (len == 0 || len >= sizeof(p)) {
        errno = len == 0 ? ENOENT : ENAMETOOLONG;
        return file_errno(e, "make folder", path);
    }
    memcpy(p, path, len);
    p[len] = '\0';
    for (size_t i = 1; i <= len; i++) {
        if ((p[i] != '/' && i < len) || p[i - 1] == '/') {
            continue;
        }
        p[i] = '\0';
        enum err rc = make_dir(p, e);
        if (rc != ERR_OK) {
            return rc;
        }
        p[i] = i < len ? '/' : '\0';
    }
    return ERR_OK;
}

enum err file_rename(const char *from, const char *to, struct errmsg *e)
{
    if (rename(from, to) != 0) {
        return file_errno(e, "rename to", to);
    }
    return file_sync_dir_of(to, e);
}

static enum err write_aside(const char *aside, struct bytes content, unsigned mode,
                            struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    enum err                rc = file_open(aside, O_WRONLY | O_CREAT | O_EXCL, mode, &fd, e);
    if (rc == ERR_OK) {
        rc = file_write_at(fd, 0, content, e);
    }
    return rc == ERR_OK ? sync_fd(fd, true, e) : rc;
}

enum err file_commit(const char *path, struct bytes content, unsigned mode, struct errmsg *e)
{
    char     aside[PATH_MAX];
    uint32_t id = 0;
    if (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
        return file_errno(e, "random name for", path);
    }
    int n = snprintf(aside, sizeof(aside), "%s.%08x.tmp", path, id);
    if (n < 0 || (size_t)n >= sizeof(aside)) {
        errno = ENAMETOOLONG;
        return file_errno(e, "write", path);
    }
    enum err rc = write_aside(aside, content, mode, e);
    if (rc == ERR_OK && rename(aside, path) != 0) {
        rc = file_errno(e, "rename to", path);
    }
    if (rc != ERR_OK) {
        (void)unlink(aside);
        return rc;
    }
    return file_sync_dir_of(path, e);
}
