#include "sys/tls.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "sys/tls_priv.h"

/* RFC 9325 4.2: forward secrecy and AEAD only.  TLS 1.3 suites are all fine as they are. */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* A server has no terminal to ask at: an encrypted key is an error. */
static int no_passphrase(char *to, // NOLINT(readability-non-const-parameter): OpenSSL says so
                         int size, int writing, void *arg)
{
    (void)to, (void)size, (void)writing, (void)arg;
    return -1;
}

static enum err refuse(struct errmsg *e, const char *what, const char *path)
{
    unsigned long n = ERR_peek_error();
    const char   *why = n == 0                     ? "?"
                        : ERR_SYSTEM_ERROR(n) != 0 ? strerrordesc_np((int)ERR_GET_REASON(n))
                                                   : ERR_reason_error_string(n);
    ERR_clear_error();
    return err_set(e, ERR_IO, "TLS %s %.120s: %s", what, path, why != NULL ? why : "?");
}

static bool set_rules(SSL_CTX *ctx)
{
    /* No tickets and no cache: a resumed session would skip the check of the certificate, and an
     * association lasts longer than its handshake. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET |
                                       SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_security_level(ctx, 2); // 112 bits: RSA from 2048 bits
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, ciphers) == 1;
}

static enum err load_own(SSL_CTX *ctx, const struct tls_conf *c, struct errmsg *e)
{
    if (c->cert == NULL && c->key == NULL && !c->server) {
        return ERR_OK;
    }
    if (c->cert == NULL || c->key == NULL) {
        return err_set(e, ERR_SYNTAX, "TLS needs both a certificate and its key");
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, c->cert) != 1) {
        return refuse(e, "certificate", c->cert);
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        return refuse(e, "key", c->key);
    }
    return ERR_OK;
}

static enum err load_trust(SSL_CTX *ctx, const struct tls_conf *c, struct errmsg *e)
{
    if (c->server && !c->peer_cert) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return ERR_OK;
    }
    if (c->server && c->ca == NULL) {
        /* The system's list is of web authorities, who vouch for anybody. */
        return err_set(e, ERR_SYNTAX, "TLS with client certificates needs a CA file of its own");
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (c->ca == NULL) {
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ? ERR_OK : refuse(e, "CA", "of system");
    }
    if (SSL_CTX_load_verify_file(ctx, c->ca) != 1) {
        return refuse(e, "CA", c->ca);
    }
    if (c->server) {
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(c->ca));
    }
    return ERR_OK;
}

enum err tls_new(const struct tls_conf *c, struct tls **ret, struct errmsg *e)
{
    struct tls *t = calloc(1, sizeof(*t));
    enum err    rc = ERR_OK;
    ERR_clear_error();
    if (t == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for TLS");
    }
    t->ctx = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
    t->io = sock_tls_io();
    t->server = c->server;
    if (t->ctx == NULL || t->io == NULL || !set_rules(t->ctx)) {
        rc = err_set(e, ERR_NOMEM, "no memory for TLS");
    }
    rc = rc != ERR_OK ? rc : load_own(t->ctx, c, e);
    rc = rc != ERR_OK ? rc : load_trust(t->ctx, c, e);
    if (rc != ERR_OK) {
        tls_free(t);
        return rc;
    }
    *ret = t;
    return ERR_OK;
}

void tls_free(struct tls *t)
{
    if (t != NULL) {
        SSL_CTX_free(t->ctx);
        BIO_meth_free(t->io);
        free(t);
    }
}
