#pragma once
/*
 * TLS contexts on OpenSSL 3: TLS 1.2 and 1.3 by the BCP 195 (RFC 9325) rules, PS3.15 B.12.
 * Made once, then const and shared by all threads.
 */
#include <stdbool.h>

#include "base/err.h"

struct tls;

struct tls_conf {
    const char *cert, *key; // PEM files; both NULL for a client without a certificate
    const char *ca;         // PEM bundle that peers are checked against; NULL: the system's
    bool        server;
    bool        peer_cert; // server: demand and check a client certificate
};

enum err tls_new(const struct tls_conf *c, struct tls **ret, struct errmsg *e);
void     tls_free(struct tls *t);
