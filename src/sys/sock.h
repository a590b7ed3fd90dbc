#pragma once
/*
 * Stream sockets with deadlines, plain or TLS (sys/tls.h), server and client.
 *
 * A sock is owned by one thread, which blocks in it; another thread may only call sock_wake().
 * Nagle is off, and quick acknowledgement is re-armed after every read: with stock DICOM clients
 * this alone is worth a factor of 30.  SIGPIPE never happens (MSG_NOSIGNAL).
 * Errors: ERR_TIMEOUT, ERR_CLOSED (end of stream, reset), ERR_IO, ERR_DENIED (certificate).
 */
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"

struct sock;
struct tls; // sys/tls.h

struct sock *sock_new(int fd); // takes the connected descriptor; NULL: no memory, fd closed
void         sock_free(struct sock *s); // closes; NULL is fine
int          sock_fd(const struct sock *s);
void         sock_wake(
            struct sock *s); // any thread: shutdown(2), so that the owner's call returns ERR_CLOSED
/* Numeric address of the peer, "127.0.0.1" or "::1", without the port. */
struct str sock_peer(const struct sock *s);

/* The same for any address; version 4 in version 6 is shown as version 4.  "": neither. */
enum { SOCK_ADDRESS_TEXT = 64 };

void     sock_address_text(const struct sockaddr *from, char ret[SOCK_ADDRESS_TEXT]);
enum err sock_connect(struct str host, uint16_t port, struct deadline d, struct sock **ret,
                      struct errmsg *e);
/* At least one byte, at most n. */
enum err sock_read(struct sock *s, void *to, size_t n, struct deadline d, size_t *ret_n,
                   struct errmsg *e);
/* All of it, gathered into as few segments as the kernel allows. iov may be changed. */
enum err sock_write(struct sock *s, struct iovec *iov, int n, struct deadline d, struct errmsg *e);
/* Is there something to read, or the end of the stream, before the deadline? */
bool     sock_readable(struct sock *s, struct deadline d);

/* Wrap an existing plain connection; the handshake is done here.  host: name checked by a client,
 * or NULL. */
enum err   sock_start_tls(struct sock *s, const struct tls *t, const char *host, struct deadline d,
                          struct errmsg *e);
/* SHA-256 of the peer's certificate (DER) in lower-case hex, and its subject; empty without TLS or
 * certificate. */
struct str sock_cert_sha256(const struct sock *s);
struct str sock_cert_subject(const struct sock *s);

/* Listening.  "ADDR:PORT", "[::1]:PORT", port 0 picks a free one. */
enum err sock_listen(struct str where, int *ret_fd, uint16_t *ret_port, struct errmsg *e);
/* ERR_LIMIT: out of descriptors or memory, pause and go on; ERR_CLOSED: another thread has called
 * shutdown(2) on the listener, which is how a server is stopped. */
enum err sock_accept(int listen_fd, struct deadline d, struct sock **ret, struct errmsg *e);
