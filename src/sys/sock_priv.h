#pragma once
/*
 * What sock.c and sock_tls.c share.  The plain functions know the descriptor, the TLS ones the
 * session on top of it; both wait through sock_wait.
 */
#include <netinet/in.h>
#include <stdatomic.h>

#include "sys/sock.h"

struct tls_session; // sock_tls.c

struct sock {
    int                 fd;
    bool                tcp;   // quick acknowledgement makes sense
    atomic_bool         woken; // sock_wake was called
    struct tls_session *tls;   // owned; NULL: plain
    char                peer[SOCK_ADDRESS_TEXT];
};

/* Until the descriptor is ready for events (POLLIN, POLLOUT), or ERR_TIMEOUT. */
enum err sock_wait(const struct sock *s, short events, struct deadline d, struct errmsg *e);
/* recv(2), with quick acknowledgement re-armed after it. */
ssize_t  sock_recv(const struct sock *s, void *to, size_t n);
/* The error for errno. */
enum err sock_errno(struct errmsg *e, const char *what);

enum err tls_session_read(struct sock *s, void *to, size_t n, struct deadline d, size_t *ret_n,
                          struct errmsg *e);
enum err tls_session_write(struct sock *s, struct iovec *iov, int n, struct deadline d,
                           struct errmsg *e);
bool     tls_session_readable(struct sock *s, struct deadline d);
void     tls_session_free(struct sock *s); // says good-bye when that is possible without waiting
/* Moves the array past n sent bytes, and past empty pieces. */
void     iov_advance(struct iovec **iov, int *count, size_t n);
