#pragma once
/*
 * What sock_tls.c needs of a context: OpenSSL's one, and the transport that never raises SIGPIPE.
 */
#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "sys/tls.h"

struct tls {
    SSL_CTX    *ctx;
    BIO_METHOD *io; // sock_tls_io()
    bool        server;
};

/* OpenSSL's own socket BIO uses write(2), which raises SIGPIPE; this one sends with MSG_NOSIGNAL
 * and re-arms quick acknowledgement.  NULL: no memory. */
BIO_METHOD *sock_tls_io(void);
