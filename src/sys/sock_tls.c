#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "sys/sock_priv.h"
#include "sys/tls_priv.h"

struct tls_session {
    SSL  *ssl;
    bool  broken; // OpenSSL forbids any further call
    char  sha256[65];
    char *subject; // owned; NULL without a certificate
};

/* -- the transport below OpenSSL -- */

static int io_write(BIO *b, const char *from, size_t n, size_t *ret_n)
{
    const struct sock *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t w;
    do {
        w = send(s->fd, from, n, MSG_NOSIGNAL);
    } while (w < 0 && errno == EINTR);
    if (w < 0) {
        if (errno == EAGAIN) {
            BIO_set_retry_write(b);
        }
        return 0;
    }
    *ret_n = (size_t)w;
    return 1;
}

static int io_read(BIO *b, char *to, size_t n, size_t *ret_n)
{
    const struct sock *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t r;
    do {
        r = sock_recv(s, to, n);
    } while (r < 0 && errno == EINTR);
    if (r <= 0) {
        if (r < 0 && errno == EAGAIN) {
            BIO_set_retry_read(b);
        } else if (r == 0) {
            BIO_set_flags(b, BIO_FLAGS_IN_EOF);
        }
        return 0;
    }
    *ret_n = (size_t)r;
    return 1;
}

static long io_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)num, (void)ptr;
    switch (cmd) {
    case BIO_CTRL_EOF: return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
    case BIO_CTRL_FLUSH: return 1;
    default: return 0;
    }
}

BIO_METHOD *sock_tls_io(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "garonne sock");
    if (m != NULL && (!BIO_meth_set_write_ex(m, io_write) || !BIO_meth_set_read_ex(m, io_read) ||
                      !BIO_meth_set_ctrl(m, io_ctrl))) {
        BIO_meth_free(m);
        return NULL;
    }
    return m;
}

/* -- errors -- */

/* Alerts by which the peer refuses our certificate, and our own refusal of none at all. */
static bool is_refusal(int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA: return true;
    default: return false;
    }
}

static enum err ssl_error(struct sock *s, const char *what, struct errmsg *e)
{
    unsigned long n = ERR_peek_error();
    long          verify = SSL_get_verify_result(s->tls->ssl);
    int           reason = ERR_GET_REASON(n);
    const char   *why = ERR_reason_error_string(n);
    s->tls->broken = true;
    ERR_clear_error();
    if (n != 0 && reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
        return err_set(e, ERR_DENIED, "TLS %s: %s", what, X509_verify_cert_error_string(verify));
    }
    if (n != 0 && (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
                   reason == SSL_R_PACKET_LENGTH_TOO_LONG)) {
        return err_set(e, ERR_IO, "TLS %s: the peer does not speak TLS (%s)", what,
                       why != NULL ? why : "?");
    }
    return err_set(e, n != 0 && is_refusal(reason) ? ERR_DENIED : ERR_IO, "TLS %s: %s", what,
                   why != NULL ? why : "?");
}

/* After a call that did not succeed: wait for what it wants and ERR_OK to try again, or the end. */
static enum err settle(struct sock *s, int ret, const char *what, struct deadline d,
                       struct errmsg *e)
{
    int n = errno;
    switch (SSL_get_error(s->tls->ssl, ret)) {
    case SSL_ERROR_WANT_READ: return sock_wait(s, POLLIN, d, e);
    case SSL_ERROR_WANT_WRITE: return sock_wait(s, POLLOUT, d, e);
    case SSL_ERROR_ZERO_RETURN: return err_set(e, ERR_CLOSED, "end of stream");
    case SSL_ERROR_SYSCALL:
        s->tls->broken = true;
        errno = n != 0 ? n : ECONNRESET;
        return sock_errno(e, what);
    default: return ssl_error(s, what, e);
    }
}

static enum err check_woken(const struct sock *s, struct errmsg *e)
{
    bool woken = atomic_load_explicit(&s->woken, memory_order_relaxed);
    return woken ? err_set(e, ERR_CLOSED, "connection was ended here") : ERR_OK;
}

/* -- handshake -- */

/* A name or an address: OpenSSL keeps them apart, and SNI (RFC 6066) is for names only. */
static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1) {
        return true;
    }
    X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool note_certificate(struct tls_session *t)
{
    X509         *x = SSL_get0_peer_certificate(t->ssl);
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned      n = 0;
    char         *text = NULL;
    if (x == NULL) {
        return true;
    }
    if (X509_digest(x, EVP_sha256(), md, &n) != 1 || n != 32) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(t->sha256 + 2 * (size_t)i, 3, "%02x", md[i]);
    }
    BIO *mem = BIO_new(BIO_s_mem());
    /* RFC 2253 form: everything beyond ASCII is escaped, so it is UTF-8 whatever the issuer did. */
    if (mem != NULL && X509_NAME_print_ex(mem, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(mem, &text);
        t->subject = len < 0 ? NULL : strndup(text != NULL ? text : "", (size_t)len);
    }
    BIO_free(mem);
    return t->subject != NULL;
}

static bool session_init(struct sock *s, const struct tls *t, const char *host)
{
    struct tls_session *n = calloc(1, sizeof(*n));
    BIO                *io = BIO_new(t->io);
    if (n != NULL && io != NULL) {
        n->ssl = SSL_new(t->ctx);
    }
    if (n == NULL || io == NULL || n->ssl == NULL) {
        BIO_free(io);
        free(n);
        return false;
    }
    BIO_set_data(io, s);
    BIO_set_init(io, 1);
    SSL_set_bio(n->ssl, io, io);
    n->broken = true; // until the handshake is done there is nothing to say good-bye to
    s->tls = n;
    if (t->server) {
        SSL_set_accept_state(n->ssl);
        return true;
    }
    SSL_set_connect_state(n->ssl);
    return host == NULL || expect_host(n->ssl, host);
}

enum err sock_start_tls(struct sock *s, const struct tls *t, const char *host, struct deadline d,
                        struct errmsg *e)
{
    if (!session_init(s, t, host)) {
        return err_set(e, ERR_NOMEM, "no memory for a TLS session");
    }
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int      r = SSL_do_handshake(s->tls->ssl);
        enum err rc = r == 1 ? ERR_OK : settle(s, r, "handshake", d, e);
        rc = rc != ERR_OK ? rc : check_woken(s, e);
        if (rc != ERR_OK) {
            return rc;
        }
        if (r == 1) {
            break;
        }
    }
    s->tls->broken = false;
    return note_certificate(s->tls) ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for a certificate");
}

struct str sock_cert_sha256(const struct sock *s)
{
    return str_of(s->tls != NULL ? s->tls->sha256 : NULL);
}

struct str sock_cert_subject(const struct sock *s)
{
    return str_of(s->tls != NULL ? s->tls->subject : NULL);
}

/* -- data -- */

enum err tls_session_read(struct sock *s, void *to, size_t n, struct deadline d, size_t *ret_n,
                          struct errmsg *e)
{
    enum err rc = check_woken(s, e);
    while (rc == ERR_OK) {
        ERR_clear_error();
        errno = 0;
        int r = SSL_read_ex(s->tls->ssl, to, n, ret_n);
        if (r == 1) {
            return ERR_OK;
        }
        rc = settle(s, r, "read", d, e);
        rc = rc != ERR_OK ? rc : check_woken(s, e);
    }
    return rc;
}

static enum err write_whole(struct sock *s, const uint8_t *p, size_t n, struct deadline d,
                            struct errmsg *e)
{
    enum err rc = check_woken(s, e);
    while (rc == ERR_OK && n > 0) {
        size_t done = 0;
        ERR_clear_error();
        errno = 0;
        int r = SSL_write_ex(s->tls->ssl, p, n, &done);
        if (r == 1) {
            p += done;
            n -= done;
        } else {
            rc = settle(s, r, "write", d, e);
            rc = rc != ERR_OK ? rc : check_woken(s, e);
        }
    }
    return rc;
}

enum err tls_session_write(struct sock *s, struct iovec *iov, int n, struct deadline d,
                           struct errmsg *e)
{
    uint8_t record[SSL3_RT_MAX_PLAIN_LENGTH];
    iov_advance(&iov, &n, 0);
    while (n > 0) {
        const uint8_t *p = iov->iov_base;
        size_t         len = iov->iov_len;
        if (n > 1 && len < sizeof(record)) {
            /* A short piece goes into one record with what follows it. */
            len = 0;
            for (int i = 0; i < n && len < sizeof(record); i++) {
                size_t room = sizeof(record) - len;
                size_t take = iov[i].iov_len < room ? iov[i].iov_len : room;
                memcpy(record + len, iov[i].iov_base, take);
                len += take;
            }
            p = record;
        }
        enum err rc = write_whole(s, p, len, d, e);
        if (rc != ERR_OK) {
            return rc;
        }
        iov_advance(&iov, &n, len);
    }
    return ERR_OK;
}

bool tls_session_readable(struct sock *s, struct deadline d)
{
    /* A record of TLS's own makes the descriptor readable, too: only a look inside can tell. */
    for (;;) {
        uint8_t one;
        size_t  n = 0;
        ERR_clear_error();
        errno = 0;
        int r = SSL_peek_ex(s->tls->ssl, &one, 1, &n);
        if (r == 1 || s->tls->broken) {
            return true;
        }
        enum err rc = settle(s, r, "read", d, NULL);
        if (rc != ERR_OK) {
            return rc != ERR_TIMEOUT;
        }
    }
}

void tls_session_free(struct sock *s)
{
    struct tls_session *t = s->tls;
    if (t == NULL) {
        return;
    }
    if (!t->broken) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl);
    }
    ERR_clear_error();
    SSL_free(t->ssl);
    free(t->subject);
    free(t);
}
