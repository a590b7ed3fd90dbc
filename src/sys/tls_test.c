/* A certificate authority is made anew for each run, so that nothing in the tree can expire. */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/sock.h"
#include "sys/tls.h"

enum { LONG_MS = 10000, SHORT_MS = 60, DAY = 86400 };

static char dir[64];

struct pem {
    char cert[128], key[128];
};

struct issuer {
    X509     *cert;
    EVP_PKEY *key;
};

struct issue {
    const char          *name;       // file and common name
    const struct issuer *by;         // NULL: self-signed authority
    const char          *alt;        // subjectAltName
    long                 from, till; // seconds from now
};

static void add_ext(X509 *x, X509 *by, int nid, const char *value)
{
    X509V3_CTX c;
    X509V3_set_ctx(&c, by, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static void save(const struct issuer *made, const struct pem *where)
{
    FILE *c = fopen(where->cert, "w"), *k = fopen(where->key, "w");
    assert_true(c != NULL && k != NULL);
    assert_int_equal(PEM_write_X509(c, made->cert), 1);
    assert_int_equal(PEM_write_PrivateKey(k, made->key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(c);
    (void)fclose(k);
}

static struct issuer make_cert(const struct issue *i, struct pem *ret)
{
    static long   serial = 1;
    struct issuer made = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME    *name = X509_get_subject_name(made.cert);
    const X509   *by = i->by != NULL ? i->by->cert : made.cert;
    assert_true(made.cert != NULL && made.key != NULL);
    (void)snprintf(ret->cert, sizeof(ret->cert), "%s/%s.crt", dir, i->name);
    (void)snprintf(ret->key, sizeof(ret->key), "%s/%s.key", dir, i->name);
    X509_set_version(made.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.cert), i->from);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), i->till);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)i->name, -1, -1,
                               0);
    X509_set_issuer_name(made.cert, X509_get_subject_name(by));
    X509_set_pubkey(made.cert, made.key);
    if (i->by == NULL) {
        add_ext(made.cert, made.cert, NID_basic_constraints, "critical,CA:TRUE");
        add_ext(made.cert, made.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (i->alt != NULL) {
        add_ext(made.cert, made.cert, NID_subject_alt_name, i->alt);
    }
    assert_true(X509_sign(made.cert, i->by != NULL ? i->by->key : made.key, EVP_sha256()) > 0);
    save(&made, ret);
    return made;
}

static void issuer_done(struct issuer *i)
{
    X509_free(i->cert);
    EVP_PKEY_free(i->key);
}

static struct pem ca, other_ca, server, client, stranger, expired;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/garonne-tls-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    const char   *alt = "DNS:localhost,IP:127.0.0.1";
    struct issuer a = make_cert(&(struct issue){.name = "ca", .till = DAY}, &ca);
    struct issuer b = make_cert(&(struct issue){.name = "other", .till = DAY}, &other_ca);

    const struct issue wanted[] = {
        {.name = "server", .by = &a, .alt = alt, .till = DAY},
        {.name = "CT \xC3\xA9tage 2", .by = &a, .till = DAY},
        {.name = "stranger", .by = &b, .alt = alt, .till = DAY},
        {.name = "expired", .by = &a, .alt = alt, .from = -2L * DAY, .till = -DAY},
    };

    struct pem *to[] = {&server, &client, &stranger, &expired};
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        struct issuer made = make_cert(&wanted[i], to[i]);
        issuer_done(&made);
    }
    issuer_done(&a);
    issuer_done(&b);
    return 0;
}

static int teardown(void **state)
{
    char cmd[128];
    (void)state;
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
}

static struct tls *context(const struct tls_conf *c)
{
    struct tls   *t = NULL;
    struct errmsg e = {0};
    if (tls_new(c, &t, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return t;
}

static struct tls *server_context(bool peer_cert)
{
    return context(&(struct tls_conf){.cert = server.cert,
                                      .key = server.key,
                                      .ca = ca.cert,
                                      .server = true,
                                      .peer_cert = peer_cert});
}

/* One end in a thread of its own; the other is the test. */
struct end {
    int           fd;
    struct tls   *tls;
    struct sock  *s; // kept open until the test is over
    enum err      rc;
    struct errmsg e;
    bool          echo; // after the handshake, send back what comes
};

static void *serve(void *arg)
{
    struct end     *d = arg;
    static uint8_t  got[100000];
    size_t          n = 0;
    struct deadline by = deadline_in_ms(LONG_MS);
    d->rc = sock_accept(d->fd, by, &d->s, &d->e);
    d->rc = d->rc != ERR_OK ? d->rc : sock_start_tls(d->s, d->tls, NULL, by, &d->e);
    while (d->rc == ERR_OK && d->echo &&
           sock_read(d->s, got, sizeof(got), by, &n, NULL) == ERR_OK) {
        struct iovec v[] = {{got, n / 3}, {got + n / 3, n - n / 3}};
        d->rc = sock_write(d->s, v, 2, by, &d->e);
    }
    if (d->rc != ERR_OK) {
        sock_free(d->s);
        d->s = NULL;
    }
    return NULL;
}

struct link {
    struct end   server;
    pthread_t    thread;
    struct sock *s; // the client's end, connected and still plain
    uint16_t     port;
};

static void link_init(struct link *l, struct tls *server_tls, bool echo)
{
    struct errmsg e = {0};
    *l = (struct link){.server = {.tls = server_tls, .echo = echo}};
    if (sock_listen(STR("127.0.0.1:0"), &l->server.fd, &l->port, &e) != ERR_OK ||
        sock_connect(STR("127.0.0.1"), l->port, deadline_in_ms(LONG_MS), &l->s, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(pthread_create(&l->thread, NULL, serve, &l->server), 0);
}

/* Waits for the server's end; afterwards server.rc and server.e are known. */
static void link_join(struct link *l)
{
    assert_int_equal(pthread_join(l->thread, NULL), 0);
    (void)close(l->server.fd);
}

static void link_done(struct link *l)
{
    sock_free(l->server.s);
    sock_free(l->s);
    tls_free(l->server.tls);
}

static void large_and_small_pieces_pass_both_ways(void **state)
{
    (void)state;

    enum { N = 300000 };
    struct link l;
    link_init(&l, server_context(false), true);
    struct tls   *t = context(&(struct tls_conf){.ca = ca.cert});
    uint8_t      *out = malloc(N), *in = calloc(1, N);
    struct errmsg e = {0};
    assert_true(out != NULL && in != NULL);
    for (size_t i = 0; i < N; i++) {
        out[i] = (uint8_t)(i % 253);
    }
    if (sock_start_tls(l.s, t, "localhost", deadline_in_ms(LONG_MS), &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(sock_cert_sha256(l.s).len, 64);
    assert_true(str_eq(sock_cert_subject(l.s), STR("CN=server")));
    size_t sent = 0, got = 0;
    for (size_t step = 1; sent < N; step *= 3) {
        size_t       n = step < N - sent ? step : N - sent;
        struct iovec v[] = {{out + sent, n / 2}, {"", 0}, {out + sent + n / 2, n - n / 2}};
        assert_int_equal(sock_write(l.s, v, 3, deadline_in_ms(LONG_MS), NULL), ERR_OK);
        sent += n;
        while (got < sent) {
            size_t r = 0;
            assert_true(sock_readable(l.s, deadline_in_ms(LONG_MS)));
            assert_int_equal(sock_read(l.s, in + got, N - got, deadline_in_ms(LONG_MS), &r, NULL),
                             ERR_OK);
            got += r;
        }
    }
    assert_memory_equal(in, out, N);
    assert_false(sock_readable(l.s, deadline_in_ms(SHORT_MS)));
    size_t r = 0;
    assert_int_equal(sock_read(l.s, in, N, deadline_in_ms(SHORT_MS), &r, NULL), ERR_TIMEOUT);
    sock_free(l.s); // says good-bye: the server sees an orderly end
    l.s = NULL;
    link_join(&l);
    assert_int_equal(l.server.rc, ERR_OK);
    assert_true(sock_readable(l.server.s, deadline_in_ms(LONG_MS)));
    assert_int_equal(sock_read(l.server.s, in, 1, deadline_in_ms(LONG_MS), &r, NULL), ERR_CLOSED);
    free(out);
    free(in);
    link_done(&l);
    tls_free(t);
}

static void a_client_certificate_is_known_to_the_server(void **state)
{
    (void)state;
    struct link l;
    link_init(&l, server_context(true), false);
    struct tls   *t = context(&(struct tls_conf){client.cert, client.key, ca.cert, false, false});
    struct errmsg e = {0};
    if (sock_start_tls(l.s, t, "127.0.0.1", deadline_in_ms(LONG_MS), &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    link_join(&l);
    assert_int_equal(l.server.rc, ERR_OK);
    assert_true(str_eq(sock_cert_subject(l.server.s), STR("CN=CT \\C3\\A9tage 2")));

    /* The fingerprint is the one that the usual tool prints. */
    char  cmd[256], line[256] = "", hex[65] = "";
    FILE *p;
    (void)snprintf(cmd, sizeof(cmd), "openssl x509 -in '%s' -outform DER | sha256sum", client.cert);
    p = popen(cmd, "r"); // allow-banned: a test
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof(line), p));
    (void)pclose(p);
    memcpy(hex, line, 64);
    assert_true(str_eq(sock_cert_sha256(l.server.s), str_of(hex)));
    link_done(&l);
    tls_free(t);
}

/* A client that is refused by TLS 1.3 learns it at its first read: the handshake has ended then. */
static enum err handshake_and_read(struct link *l, struct tls *t, const char *host,
                                   struct errmsg *e)
{
    char     got[1];
    size_t   n = 0;
    enum err rc = sock_start_tls(l->s, t, host, deadline_in_ms(LONG_MS), e);
    return rc != ERR_OK ? rc : sock_read(l->s, got, 1, deadline_in_ms(LONG_MS), &n, e);
}

static void bad_certificates_are_denied_on_both_sides(void **state)
{
    (void)state;

    static const struct {
        const char       *what;
        const struct pem *server, *client, *client_trusts;
        const char       *host;
        enum err          want_server, want_client;
        const char       *text;
    } cases[] = {
        {"server of another authority", &stranger, NULL, &ca, "localhost", ERR_DENIED, ERR_DENIED,
         "unable to get local issuer"},
        {"expired server", &expired, NULL, &ca, "localhost", ERR_DENIED, ERR_DENIED,
         "certificate has expired"},
        {"another host", &server, NULL, &ca, "pacs.example", ERR_DENIED, ERR_DENIED,
         "hostname mismatch"},
        {"another address", &server, NULL, &ca, "127.0.0.2", ERR_DENIED, ERR_DENIED,
         "IP address mismatch"},
        {"no client certificate", &server, NULL, &ca, "localhost", ERR_DENIED, ERR_DENIED,
         "certificate required"},
        {"client of another authority", &server, &stranger, &ca, "localhost", ERR_DENIED,
         ERR_DENIED, "unknown ca"},
        {"expired client", &server, &expired, &ca, "localhost", ERR_DENIED, ERR_DENIED,
         "certificate expired"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct link l;
        link_init(&l,
                  context(&(struct tls_conf){cases[i].server->cert, cases[i].server->key, ca.cert,
                                             .server = true, .peer_cert = true}),
                  false);
        const struct pem *own = cases[i].client;
        struct tls       *t = context(&(struct tls_conf){.cert = own != NULL ? own->cert : NULL,
                                                         .key = own != NULL ? own->key : NULL,
                                                         .ca = cases[i].client_trusts->cert});
        struct errmsg     e = {0};
        enum err          rc = handshake_and_read(&l, t, cases[i].host, &e);
        sock_free(l.s);
        l.s = NULL;
        link_join(&l);
        if (l.server.rc != cases[i].want_server || rc != cases[i].want_client ||
            strstr(e.text, cases[i].text) == NULL) {
            fail_msg("%s: server %s (%s), client %s (%s)", cases[i].what, err_name(l.server.rc),
                     l.server.e.text, err_name(rc), e.text);
        }
        link_done(&l);
        tls_free(t);
    }
}

static void a_plain_client_at_a_tls_port_is_told_apart(void **state)
{
    (void)state;
    /* The start of an A-ASSOCIATE-RQ, and of an HTTP request. */
    static char plain[2][32] = {"\x01\x00\x00\x00\x00\xcf\x00\x01\x00\x00GARONNE",
                                "GET / HTTP/1.1\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct link l;
        link_init(&l, server_context(false), false);
        struct iovec v = {plain[i], 17};
        assert_int_equal(sock_write(l.s, &v, 1, deadline_in_ms(LONG_MS), NULL), ERR_OK);
        link_join(&l);
        assert_int_equal(l.server.rc, ERR_IO);
        assert_non_null(strstr(l.server.e.text, "does not speak TLS"));
        link_done(&l);
    }
}

static void a_silent_peer_times_out_and_a_gone_one_is_closed(void **state)
{
    (void)state;
    int          fd = -1;
    uint16_t     port = 0;
    struct sock *c = NULL, *s = NULL;
    struct tls  *t = server_context(false);
    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &fd, &port, NULL), ERR_OK);
    for (int gone = 0; gone < 2; gone++) {
        struct deadline d = deadline_in_ms(LONG_MS);
        assert_int_equal(sock_connect(STR("127.0.0.1"), port, d, &c, NULL), ERR_OK);
        assert_int_equal(sock_accept(fd, d, &s, NULL), ERR_OK);
        if (gone) {
            sock_free(c);
            c = NULL;
        }
        enum err rc = sock_start_tls(s, t, NULL, deadline_in_ms(gone ? LONG_MS : SHORT_MS), NULL);
        assert_int_equal(rc, gone ? ERR_CLOSED : ERR_TIMEOUT);
        sock_free(c);
        sock_free(s);
    }
    tls_free(t);
    (void)close(fd);
}

static void *wake_soon(void *arg)
{
    (void)usleep(30000);
    sock_wake(arg);
    return NULL;
}

static void wake_and_reset_end_an_encrypted_read_and_write(void **state)
{
    (void)state;
    static uint8_t big[64 << 20];
    for (int how = 0; how < 3; how++) {
        struct link l;
        link_init(&l, server_context(false), false);
        struct tls  *t = context(&(struct tls_conf){.ca = ca.cert});
        pthread_t    waker;
        char         got[1];
        size_t       n = 0;
        struct iovec v = {big, sizeof(big)};
        enum err     rc;
        assert_int_equal(sock_start_tls(l.s, t, NULL, deadline_in_ms(LONG_MS), NULL), ERR_OK);
        link_join(&l);
        if (how < 2) {
            assert_int_equal(pthread_create(&waker, NULL, wake_soon, l.s), 0);
        } else {
            struct linger hard = {.l_onoff = 1, .l_linger = 0};
            int           fd = sock_fd(l.server.s);
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
            sock_free(l.server.s);
            l.server.s = NULL;
        }
        if (how == 0) {
            rc = sock_read(l.s, got, 1, deadline_in_ms(LONG_MS), &n, NULL);
        } else {
            rc = sock_write(l.s, &v, 1, deadline_in_ms(LONG_MS), NULL);
        }
        assert_int_equal(rc, ERR_CLOSED);
        if (how < 2) {
            assert_int_equal(pthread_join(waker, NULL), 0);
        }
        link_done(&l);
        tls_free(t);
    }
}

static void old_versions_and_weak_suites_are_refused(void **state)
{
    (void)state;

    static const struct {
        const char *args;
        bool        good;
    } cases[] = {
        {"-tls1_3", true},
        {"-tls1_2", true},
        {"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", true},
        {"-tls1_1 -cipher DEFAULT@SECLEVEL=0", false},
        {"-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", false}, // CBC
        {"-tls1_2 -cipher AES128-GCM-SHA256", false},      // no forward secrecy
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char       cmd[256];
        struct end d = {.tls = server_context(false)};
        uint16_t   port = 0;
        pthread_t  thread;
        assert_int_equal(sock_listen(STR("127.0.0.1:0"), &d.fd, &port, NULL), ERR_OK);
        assert_int_equal(pthread_create(&thread, NULL, serve, &d), 0);
        (void)snprintf(cmd, sizeof(cmd),
                       "openssl s_client -connect 127.0.0.1:%u %s </dev/null >/dev/null 2>&1", port,
                       cases[i].args);
        (void)!system(cmd); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
        assert_int_equal(pthread_join(thread, NULL), 0);
        if ((d.rc == ERR_OK) != cases[i].good) {
            fail_msg("%s: %s %s", cases[i].args, err_name(d.rc), d.e.text);
        }
        sock_free(d.s);
        tls_free(d.tls);
        (void)close(d.fd);
    }
}

static void a_bad_configuration_is_refused_with_words(void **state)
{
    (void)state;

    const struct {
        const char     *what;
        struct tls_conf c;
        enum err        want;
        const char     *text;
    } cases[] = {
        {"no certificate", {.server = true}, ERR_SYNTAX, "both a certificate and its key"},
        {"no key", {.cert = server.cert}, ERR_SYNTAX, "both a certificate and its key"},
        {"key of another", {server.cert, client.key, NULL, true, false}, ERR_IO, "mismatch"},
        {"missing file", {"/none.crt", server.key, NULL, true, false}, ERR_IO, "No such file"},
        {"not a PEM file", {server.cert, "/dev/null", NULL, true, false}, ERR_IO, "/dev/null"},
        {"any client", {server.cert, server.key, NULL, true, true}, ERR_SYNTAX, "CA file"},
        {"missing CA", {.ca = "/none.crt"}, ERR_IO, "/none.crt"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tls   *t = NULL;
        struct errmsg e = {0};
        enum err      rc = tls_new(&cases[i].c, &t, &e);
        if (rc != cases[i].want || t != NULL || strstr(e.text, cases[i].text) == NULL) {
            fail_msg("%s: %s '%s'", cases[i].what, err_name(rc), e.text);
        }
    }
    tls_free(NULL);
    tls_free(context(&(struct tls_conf){0})); // the system's authorities
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_and_small_pieces_pass_both_ways),
        cmocka_unit_test(a_client_certificate_is_known_to_the_server),
        cmocka_unit_test(bad_certificates_are_denied_on_both_sides),
        cmocka_unit_test(a_plain_client_at_a_tls_port_is_told_apart),
        cmocka_unit_test(a_silent_peer_times_out_and_a_gone_one_is_closed),
        cmocka_unit_test(wake_and_reset_end_an_encrypted_read_and_write),
        cmocka_unit_test(old_versions_and_weak_suites_are_refused),
        cmocka_unit_test(a_bad_configuration_is_refused_with_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
