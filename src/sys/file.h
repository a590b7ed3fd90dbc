#pragma once
/*
 * Files.  Whole reads and writes that finish or say why; the one place that knows how to make a
 * file durable (write aside, fsync, rename, fsync of the folder).  ENOSPC and EDQUOT are
 * ERR_LIMIT, ENOENT is ERR_NOTFOUND, EEXIST is ERR_EXISTS, all else ERR_IO; the text names the
 * path and errno.  Any thread.
 */
#include "base/buf.h"

enum err file_errno(struct errmsg *e, const char *what, const char *path); // maps errno as above

enum err file_open(const char *path, int flags, unsigned mode, int *ret_fd, struct errmsg *e);
void     file_close(int *fd); // also the cleanup function; -1 afterwards
enum err file_read_at(int fd, uint64_t at, void *to, size_t n, size_t *ret_n, struct errmsg *e);
enum err file_read_full(int fd, uint64_t at, void *to, size_t n, struct errmsg *e); // short: ERR_IO
enum err file_write_at(int fd, uint64_t at, struct bytes b, struct errmsg *e);
enum err file_read_all(const char *path, struct buf *out,
                       struct errmsg *e); // appended, up to its max
enum err file_make_dirs(const char    *path,
                        struct errmsg *e); // new ones are fsynced into their parents
enum err file_sync_dir_of(const char    *path,
                          struct errmsg *e); // fsync of the folder that holds path
enum err file_rename(const char *from, const char *to,
                     struct errmsg *e); // rename, fsync of the folder
/* Write aside, fsync, rename over path, fsync the folder: afterwards the whole content or the old
 * one. */
enum err file_commit(const char *path, struct bytes content, unsigned mode, struct errmsg *e);

/*
 * Fault points for tests: the n-th call from now of the named kind fails with the errno, once.
 * Counted in file_write_at, file_sync and file_open.  Off (n = 0) in every program.
 */
enum file_fault { FAULT_WRITE, FAULT_SYNC, FAULT_OPEN, FAULT__COUNT };

void     file_fault_set(enum file_fault kind, unsigned n, int errnum);
enum err file_sync(int fd, struct errmsg *e); // fdatasync
