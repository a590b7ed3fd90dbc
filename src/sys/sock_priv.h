#pragma once
/*
 * What sock.c and sock_tls.c share.  The plain functions know the descriptor, the TLS ones the
 * session on top of it; both wait through sock_wait.
 */
#include <netinet/in.h>
#include <stdatomic.h>

#include "sys/sock.h"

struct sock {
    int         fd;
    bool        tcp;   // quick acknowledgement makes sense
    atomic_bool woken; // sock_wake was called
    char        peer[INET6_ADDRSTRLEN];
};

/* Until the descriptor is ready for events (POLLIN, POLLOUT), or ERR_TIMEOUT. */
enum err sock_wait(const struct sock *s, short events, struct deadline d, struct errmsg *e);
