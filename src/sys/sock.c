#include "sys/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/num.h"
#include "sys/sock_priv.h"

union address {
    struct sockaddr     any;
    struct sockaddr_in  v4;
    struct sockaddr_in6 v6;
};

static enum err errno_code(int n)
{
    switch (n) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ETIMEDOUT: return ERR_CLOSED;
    default: return ERR_IO;
    }
}

enum err sock_errno(struct errmsg *e, const char *what)
{
    int         n = errno;
    const char *why = strerrordesc_np(n);
    return err_set(e, errno_code(n), "%s: %s", what, why != NULL ? why : "?");
}

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

void sock_address_text(const struct sockaddr *from, char ret[SOCK_ADDRESS_TEXT])
{
    const void   *p = NULL;
    int           family = AF_INET;
    union address a;
    ret[0] = '\0';
    if (from->sa_family == AF_INET) {
        memcpy(&a.v4, from, sizeof(a.v4));
        p = &a.v4.sin_addr;
    } else if (from->sa_family == AF_INET6) {
        memcpy(&a.v6, from, sizeof(a.v6));
        bool mapped = IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr);
        family = mapped ? AF_INET : AF_INET6;
        p = a.v6.sin6_addr.s6_addr + (mapped ? 12 : 0);
    }
    if (p == NULL || inet_ntop(family, p, ret, SOCK_ADDRESS_TEXT) == NULL) {
        ret[0] = '\0';
    }
}

static void name_peer(struct sock *s)
{
    union address a = {0};
    socklen_t     len = sizeof(a);
    if (getpeername(s->fd, &a.any, &len) == 0) {
        sock_address_text(&a.any, s->peer);
    }
}

struct sock *sock_new(int fd)
{
    struct sock *s = calloc(1, sizeof(*s));
    int          flags = fcntl(fd, F_GETFL);
    if (s == NULL || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        free(s);
        (void)close(fd);
        return NULL;
    }
    s->fd = fd;
    s->tcp = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (s->tcp) {
        (void)set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
        (void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    name_peer(s);
    return s;
}

void sock_free(struct sock *s)
{
    if (s != NULL) {
        tls_session_free(s);
        (void)close(s->fd);
        free(s);
    }
}

int sock_fd(const struct sock *s)
{
    return s->fd;
}

void sock_wake(struct sock *s)
{
    atomic_store(&s->woken, true);
    (void)shutdown(s->fd, SHUT_RDWR);
}

struct str sock_peer(const struct sock *s)
{
    return str_of(s->peer);
}

static enum err poll_fd(int fd, short events, struct deadline d, struct errmsg *e)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int n = poll(&p, 1, deadline_poll_ms(d));
        if (n > 0) {
            return ERR_OK;
        }
        if (n == 0 && is_deadline_past(d)) {
            return err_set(e, ERR_TIMEOUT, "timeout");
        }
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return sock_errno(e, "poll");
        }
    }
}

enum err sock_wait(const struct sock *s, short events, struct deadline d, struct errmsg *e)
{
    return poll_fd(s->fd, events, d, e);
}

ssize_t sock_recv(const struct sock *s, void *to, size_t n)
{
    ssize_t r = recv(s->fd, to, n, 0);
    if (r > 0 && s->tcp) {
        /* The kernel falls back to delayed acknowledgement by itself: ask again. */
        (void)set_int(s->fd, IPPROTO_TCP, TCP_QUICKACK, 1);
    }
    return r;
}

enum err sock_read(struct sock *s, void *to, size_t n, struct deadline d, size_t *ret_n,
                   struct errmsg *e)
{
    if (s->tls != NULL) {
        return tls_session_read(s, to, n, d, ret_n, e);
    }
    for (;;) {
        if (atomic_load_explicit(&s->woken, memory_order_relaxed)) {
            return err_set(e, ERR_CLOSED, "connection was ended here");
        }
        ssize_t r = sock_recv(s, to, n);
        if (r > 0) {
            *ret_n = (size_t)r;
            return ERR_OK;
        }
        if (r == 0) {
            return err_set(e, ERR_CLOSED, "end of stream");
        }
        if (errno == EAGAIN) {
            enum err rc = sock_wait(s, POLLIN, d, e);
            if (rc != ERR_OK) {
                return rc;
            }
        } else if (errno != EINTR) {
            return sock_errno(e, "read");
        }
    }
}

void iov_advance(struct iovec **iov, int *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*count;
    }
    if (*count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

enum err sock_write(struct sock *s, struct iovec *iov, int n, struct deadline d, struct errmsg *e)
{
    if (s->tls != NULL) {
        return tls_session_write(s, iov, n, d, e);
    }
    iov_advance(&iov, &n, 0); // empty ones
    while (n > 0) {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX)};
        ssize_t       w = sendmsg(s->fd, &m, MSG_NOSIGNAL);
        if (w >= 0) {
            iov_advance(&iov, &n, (size_t)w);
        } else if (errno == EAGAIN) {
            enum err rc = sock_wait(s, POLLOUT, d, e);
            if (rc != ERR_OK) {
                return rc;
            }
        } else if (errno != EINTR) {
            return sock_errno(e, "write");
        }
    }
    return ERR_OK;
}

bool sock_readable(struct sock *s, struct deadline d)
{
    return s->tls != NULL ? tls_session_readable(s, d) : sock_wait(s, POLLIN, d, NULL) == ERR_OK;
}

static enum err resolve(struct str host, uint16_t port, int flags, struct addrinfo **ret,
                        struct errmsg *e)
{
    char            name[256], service[8];
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    if (host.len == 0 || host.len >= sizeof(name)) {
        return err_set(e, ERR_SYNTAX, "host name of %zu bytes", host.len);
    }
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    (void)snprintf(service, sizeof(service), "%u", port);
    int rc = getaddrinfo(name, service, &hint, ret);
    return rc == 0 ? ERR_OK : err_set(e, ERR_IO, "host %s: %s", name, gai_strerror(rc));
}

static enum err connect_one(const struct addrinfo *a, struct deadline d, int *ret_fd,
                            struct errmsg *e)
{
    int       fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int       n = 0;
    socklen_t len = sizeof(n);
    enum err  rc = ERR_OK;
    if (fd < 0) {
        return sock_errno(e, "socket");
    }
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        rc = errno == EINPROGRESS ? poll_fd(fd, POLLOUT, d, e) : sock_errno(e, "connect");
    }
    if (rc == ERR_OK && (getsockopt(fd, SOL_SOCKET, SO_ERROR, &n, &len) != 0 || n != 0)) {
        errno = n != 0 ? n : errno;
        rc = sock_errno(e, "connect");
    }
    if (rc != ERR_OK) {
        (void)close(fd);
        return rc;
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err sock_connect(struct str host, uint16_t port, struct deadline d, struct sock **ret,
                      struct errmsg *e)
{
    struct addrinfo *all = NULL;
    struct errmsg    why = {0};
    int              fd = -1;
    enum err         rc = resolve(host, port, 0, &all, e);
    if (rc != ERR_OK) {
        return rc;
    }
    for (const struct addrinfo *a = all; a != NULL; a = a->ai_next) {
        why = (struct errmsg){0}; // the last address tried is the one reported
        rc = connect_one(a, d, &fd, &why);
        if (rc == ERR_OK || rc == ERR_TIMEOUT) {
            break;
        }
    }
    freeaddrinfo(all);
    if (rc != ERR_OK) {
        return err_set(e, rc, "%.*s port %u: %s", STR_ARG(host), port, why.text);
    }
    struct sock *s = sock_new(fd);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a connection");
    }
    *ret = s;
    return ERR_OK;
}

/* "ADDR:PORT" or "[ADDR]:PORT" into its parts. */
static enum err split_where(struct str where, struct str *ret_host, uint16_t *ret_port,
                            struct errmsg *e)
{
    const char *colon = where.len > 0 ? memrchr(where.ptr, ':', where.len) : NULL;
    uint32_t    port = 0;
    size_t      len = colon != NULL ? (size_t)(colon - where.ptr) : 0;
    struct str  host = {where.ptr, len};
    if (colon == NULL || !parse_u32((struct str){colon + 1, where.len - len - 1}, &port) ||
        port > UINT16_MAX) {
        return err_set(e, ERR_SYNTAX, "\"%.*s\" is not ADDR:PORT", STR_ARG(where));
    }
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = (struct str){host.ptr + 1, host.len - 2};
    } else if (host.len == 0 || memchr(host.ptr, ':', host.len) != NULL) {
        return err_set(e, ERR_SYNTAX, "\"%.*s\": an IPv6 address needs brackets, [ADDR]:PORT",
                       STR_ARG(where));
    }
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

static enum err listen_one(const struct addrinfo *a, int *ret_fd, uint16_t *ret_port)
{
    union address own = {0};
    socklen_t     len = sizeof(own);
    int           fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ERR_IO;
    }
    (void)set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (a->ai_family == AF_INET6) {
        (void)set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0); // [::] takes both versions
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, LIMIT_BACKLOG) != 0 ||
        getsockname(fd, &own.any, &len) != 0) {
        int n = errno;
        (void)close(fd);
        errno = n;
        return ERR_IO;
    }
    *ret_port = ntohs(own.any.sa_family == AF_INET6 ? own.v6.sin6_port : own.v4.sin_port);
    *ret_fd = fd;
    return ERR_OK;
}

enum err sock_listen(struct str where, int *ret_fd, uint16_t *ret_port, struct errmsg *e)
{
    struct addrinfo *all = NULL;
    struct str       host = {0};
    uint16_t         port = 0;
    enum err         rc = split_where(where, &host, &port, e);
    if (rc == ERR_OK) {
        rc = resolve(host, port, AI_PASSIVE, &all, e);
    }
    if (rc != ERR_OK || all == NULL) {
        return rc;
    }
    rc = listen_one(all, ret_fd, ret_port);
    int n = errno;
    freeaddrinfo(all);
    if (rc != ERR_OK) {
        const char *why = strerrordesc_np(n);
        return err_set(e, rc, "listen on %.*s: %s", STR_ARG(where), why != NULL ? why : "?");
    }
    return ERR_OK;
}

/* What accept(2) says about one connection, not about the listener: the next one may be fine. */
static bool is_passing(int n)
{
    return n == EINTR || n == EAGAIN || n == ECONNABORTED || n == EPROTO || n == ENETDOWN ||
           n == EHOSTUNREACH || n == ENETUNREACH || n == EHOSTDOWN;
}

enum err sock_accept(int listen_fd, struct deadline d, struct sock **ret, struct errmsg *e)
{
    int fd;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) {
        if (errno == EINVAL) {
            return err_set(e, ERR_CLOSED, "listener is shut down");
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            return err_set(e, ERR_LIMIT, "accept: %s", strerrordesc_np(errno));
        }
        if (!is_passing(errno)) {
            return sock_errno(e, "accept");
        }
        enum err rc = errno == EAGAIN ? poll_fd(listen_fd, POLLIN, d, e) : ERR_OK;
        if (rc != ERR_OK) {
            return rc;
        }
    }
    struct sock *s = sock_new(fd);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a connection");
    }
    *ret = s;
    return ERR_OK;
}
