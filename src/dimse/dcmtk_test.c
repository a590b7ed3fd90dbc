/* DCMTK's programs against both of our ends, plain and over TLS.  Skipped where they are missing.
 */
#include <fcntl.h>
#include <glob.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/part10.h"
#include "dimse/scu.h"
#include "dimse/test_support.h"
#include "sys/file.h"

extern char **environ;

static char dir[64];

/* ---- programs */

static pid_t spawn(const char *const argv[])
{
    posix_spawn_file_actions_t quiet;
    pid_t                      pid = -1;
    assert_int_equal(posix_spawn_file_actions_init(&quiet), 0);
    (void)posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    assert_int_equal(posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&quiet);
    return pid;
}

static bool run(const char *const argv[])
{
    int   status = 0;
    pid_t pid = spawn(argv);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void need(const char *path)
{
    if (access(path, X_OK) != 0) {
        (void)printf("skipped: no %s\n", path);
        skip();
    }
}

struct path {
    char z[128];
};

static struct path in_dir(const char *name)
{
    struct path p;
    (void)snprintf(p.z, sizeof(p.z), "%s/%s", dir, name);
    return p;
}

/* ---- our server */

struct running {
    struct server s;
    pthread_t     thread;
    char          port[8];
};

static void serve_one(struct running *r)
{
    uint16_t      port = 0;
    struct errmsg e = {0};
    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &r->s.listen_fd, &port, &e), ERR_OK);
    (void)snprintf(r->port, sizeof(r->port), "%u", port);
    buf_init(&r->s.kept, 4 << 20);
    assert_int_equal(pthread_create(&r->thread, NULL, server_main, &r->s), 0);
}

static void finish(struct running *r)
{
    assert_int_equal(pthread_join(r->thread, NULL), 0);
    (void)close(r->s.listen_fd);
    buf_done(&r->s.kept);
}

static void echoscu_echoes(void **state)
{
    (void)state;
    need("/usr/bin/echoscu");
    static const char *const sizes[] = {"4096", "16384", "131072"};
    for (size_t i = 0; i < 3; i++) {
        struct running r = {0};
        serve_one(&r);
        /* 128 contexts with 38 transfer syntaxes each */
        const char *const argv[] = {"echoscu", "--repeat",  "3",    "-aet", "DCMTK", "-aec",
                                    "GARONNE", "-pts",      "38",   "-ppc", "128",   "--max-pdu",
                                    sizes[i],  "127.0.0.1", r.port, NULL};
        assert_true(run(argv));
        finish(&r);
        assert_string_equal(r.s.e.text, "");
        assert_int_equal(r.s.messages, 3);
        assert_string_equal(r.s.calling, "DCMTK");
        assert_string_equal(r.s.called, "GARONNE");
    }
}

static struct path object_file(struct bytes data, const char *uid)
{
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 4 << 20);
    const struct part10_meta m = {
        .class_uid = STR(CT), .sop_uid = str_of(uid), .syntax_uid = STR(EXPLICIT)};
    struct errmsg e = {0};
    struct path   p = in_dir(uid);
    assert_int_equal(part10_write(&m, &out, &e), ERR_OK);
    buf_add(&out, data);
    assert_int_equal(file_commit(p.z, (struct bytes){out.ptr, out.len}, 0600, &e), ERR_OK);
    return p;
}

static void storescu_stores_byte_for_byte(void **state)
{
    (void)state;
    need("/usr/bin/storescu");
    static const char *const         sizes[] = {"4096", "16384", "131072"};
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, 4 << 20);
    buf_init(&out, 4 << 20);
    struct bytes b = make_object(&mem, &out, STR("1.2.3.5"), 700000);
    struct path  file = object_file(b, "1.2.3.5");
    for (size_t i = 0; i < 3; i++) {
        struct running r = {0};
        serve_one(&r);
        const char *const argv[] = {"storescu", "--max-send-pdu", sizes[i], "127.0.0.1",
                                    r.port,     file.z,           NULL};
        assert_true(run(argv));
        assert_int_equal(pthread_join(r.thread, NULL), 0);
        assert_int_equal(r.s.kept.len, b.len);
        assert_memory_equal(r.s.kept.ptr, b.ptr, b.len);
        assert_string_equal(r.s.e.text, "");
        (void)close(r.s.listen_fd);
        buf_done(&r.s.kept);
    }
}

/* ---- certificates: each side trusts that of the other */

static void make_cert(const char *name)
{
    char      file[32];
    X509     *x = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_true(x != NULL && key != NULL);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    assert_true(alt != NULL && X509_add_ext(x, alt, -1) == 1);
    X509_EXTENSION_free(alt);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    (void)snprintf(file, sizeof(file), "%s.crt", name);
    FILE *f = fopen(in_dir(file).z, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    (void)fclose(f);
    (void)snprintf(file, sizeof(file), "%s.key", name);
    f = fopen(in_dir(file).z, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static struct tls *tls_of(const char *cert, const char *key, const char *ca, bool server)
{
    struct path c = in_dir(cert), k = in_dir(key), a = in_dir(ca);

    const struct tls_conf conf = {
        .cert = c.z, .key = k.z, .ca = a.z, .server = server, .peer_cert = server};

    struct tls   *t = NULL;
    struct errmsg e = {0};
    if (tls_new(&conf, &t, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return t;
}

static void tls_wants_a_client_certificate(void **state)
{
    (void)state;
    need("/usr/bin/echoscu");
    struct path key = in_dir("client.key"), cert = in_dir("client.crt"), ca = in_dir("server.crt");
    struct path other_key = in_dir("other.key"), other_cert = in_dir("other.crt");
    struct tls *t = tls_of("server.crt", "server.key", "client.crt", true);

    const char *const good[] = {"+tls", key.z, cert.z, "-pw", "+cf", ca.z};
    const char *const stranger[] = {"+tls", other_key.z, other_cert.z, "-pw", "+cf", ca.z};
    const char *const none[] = {"+tla", "+cf", ca.z, NULL};

    const struct {
        const char *const *args;
        size_t             n;
        bool               want;
    } cases[] = {{good, 6, true}, {stranger, 6, false}, {none, 3, false}};

    for (size_t i = 0; i < 3; i++) {
        struct running r = {.s = {.tls = t}};
        serve_one(&r);
        const char *argv[12] = {"echoscu"};
        size_t      n = 1;
        for (size_t k = 0; k < cases[i].n; k++) {
            argv[n++] = cases[i].args[k];
        }
        argv[n++] = "127.0.0.1";
        argv[n] = r.port;
        assert_int_equal(run(argv), cases[i].want);
        finish(&r);
        assert_int_equal(r.s.messages, cases[i].want ? 1 : 0);
        assert_int_equal(r.s.e.text[0] == '\0', cases[i].want);
    }
    tls_free(t);
}

/* ---- our client */

struct storescp {
    pid_t       pid;
    uint16_t    port;
    struct path out;
};

static struct storescp start_storescp(const char *name, bool tls)
{
    struct storescp s = {.out = in_dir(name)};
    struct errmsg   e = {0};
    int             fd = -1;
    char            port[8];
    struct path key = in_dir("server.key"), cert = in_dir("server.crt"), ca = in_dir("client.crt");
    assert_int_equal(file_make_dirs(s.out.z, &e), ERR_OK);
    assert_int_equal(sock_listen(STR("127.0.0.1:0"), &fd, &s.port, &e), ERR_OK);
    (void)close(fd);
    (void)snprintf(port, sizeof(port), "%u", s.port);
    const char *argv[16] = {"storescp", "+B", "-od", s.out.z};
    size_t      n = 4;
    if (tls) {
        const char *const more[] = {"+tls", key.z, cert.z, "-pw", "+cf", ca.z};
        memcpy(argv + n, more, sizeof(more));
        n += sizeof(more) / sizeof(more[0]);
    }
    argv[n] = port;
    s.pid = spawn(argv);
    for (int i = 0; i < 200; i++) {
        struct sock *c = NULL;
        if (sock_connect(STR("127.0.0.1"), s.port, deadline_in_ms(1000), &c, NULL) == ERR_OK) {
            sock_free(c);
            break;
        }
        (void)usleep(20000);
    }
    return s;
}

static void stop_storescp(struct storescp *s)
{
    int status;
    assert_int_equal(kill(s->pid, SIGTERM), 0);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
}

/* Its only file, without the meta information, is the data set that we sent. */
static void is_kept(const struct storescp *s, struct bytes data)
{
    char                         pattern[160];
    glob_t                       g = {0};
    CLEANUP(buf_done) struct buf all;
    struct errmsg                e = {0};
    buf_init(&all, 4 << 20);
    (void)snprintf(pattern, sizeof(pattern), "%s/*", s->out.z);
    assert_int_equal(glob(pattern, 0, NULL, &g), 0); // NOLINT(concurrency-mt-unsafe): a test
    assert_int_equal(g.gl_pathc, 1);
    assert_int_equal(file_read_all(g.gl_pathv[0], &all, &e), ERR_OK);
    globfree(&g);
    assert_true(all.len > data.len);
    assert_memory_equal(all.ptr + all.len - data.len, data.ptr, data.len);
}

static enum err connect_scu(const struct storescp *s, const struct tls *t, struct str pin,
                            struct assoc **ret, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 1 << 16);
    struct scu_plan plan;
    plan_init(&plan, &mem);
    assert_int_equal(plan_add_object(&plan, STR(CT), STR(EXPLICIT), NULL), ERR_OK);
    const struct scu_peer p = {.host = STR("127.0.0.1"),
                               .port = s->port,
                               .called = STR("STORESCP"),
                               .calling = STR("GARONNE"),
                               .tls = t,
                               .tls_host = "127.0.0.1",
                               .cert = pin};
    return scu_connect(&p, &plan, ret, e);
}

static void send_one(const struct storescp *s, const struct tls *t)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     out;
    arena_init(&mem, 4 << 20);
    buf_init(&out, 4 << 20);
    struct bytes  b = make_object(&mem, &out, STR("1.2.3.6"), 300000);
    struct assoc *a = NULL;
    struct errmsg e = {0};
    uint16_t      status = 1;
    if (connect_scu(s, t, STR(""), &a, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    const struct scu_object o = {.class_uid = STR(CT),
                                 .sop_uid = STR("1.2.3.6"),
                                 .syntax_uid = STR(EXPLICIT),
                                 .src = dsrc_of_bytes(&b),
                                 .fd = temp_file(b),
                                 .fd_len = b.len};
    if (scu_store(a, &o, &status, &e) != ERR_OK || assoc_release(a, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(status, 0);
    (void)close(o.fd);
    assoc_free(a);
    is_kept(s, b);
}

static void storescp_keeps_what_we_send(void **state)
{
    (void)state;
    need("/usr/bin/storescp");
    struct storescp s = start_storescp("plain", false);
    send_one(&s, NULL);
    stop_storescp(&s);
}

static void storescp_over_tls(void **state)
{
    (void)state;
    need("/usr/bin/storescp");
    struct storescp s = start_storescp("tls", true);
    struct tls     *good = tls_of("client.crt", "client.key", "server.crt", false);
    struct tls     *wary = tls_of("client.crt", "client.key", "other.crt", false);
    struct tls     *unknown = tls_of("other.crt", "other.key", "server.crt", false);
    struct assoc   *a = NULL;
    struct errmsg   e = {0};
    assert_int_equal(connect_scu(&s, wary, STR(""), &a, &e), ERR_DENIED);
    e = (struct errmsg){0};
    assert_int_equal(connect_scu(&s, good, STR("00ff"), &a, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "another certificate"));
    e = (struct errmsg){0};
    assert_int_not_equal(connect_scu(&s, unknown, STR(""), &a, &e), ERR_OK);
    send_one(&s, good);
    tls_free(good);
    tls_free(wary);
    tls_free(unknown);
    stop_storescp(&s);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/garonne-dcmtk-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    make_cert("server");
    make_cert("client");
    make_cert("other");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *const argv[] = {"rm", "-rf", dir, NULL};
    return run(argv) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoscu_echoes),
        cmocka_unit_test(storescu_stores_byte_for_byte),
        cmocka_unit_test(tls_wants_a_client_certificate),
        cmocka_unit_test(storescp_keeps_what_we_send),
        cmocka_unit_test(storescp_over_tls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
