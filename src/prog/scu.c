/* garonne echo, send, find, get, move: a client of any DICOM node. */
#include "dimse/scu.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "dicom/json.h"
#include "dicom/part10.h"
#include "dicom/tags.h"
#include "prog/cli.h"
#include "sys/file.h"

static const char help[] =
    "usage: garonne echo HOST PORT [OPTIONS]\n"
    "       garonne send HOST PORT [OPTIONS] PATH…\n"
    "       garonne find HOST PORT [OPTIONS] [--level LEVEL] [--root patient|study] KEY[=VALUE]…\n"
    "       garonne get  HOST PORT [OPTIONS] [--level LEVEL] [--root patient|study] --out DIR "
    "KEY=VALUE…\n"
    "       garonne move HOST PORT [OPTIONS] [--level LEVEL] [--root patient|study] --dest TITLE "
    "KEY=VALUE…\n"
    "KEY: a keyword of the dictionary (PatientName) or gggg,eeee.  LEVEL: PATIENT STUDY SERIES "
    "IMAGE.\n"
    "OPTIONS: --called TITLE --calling TITLE --tls --tls-cert FILE --tls-key FILE --tls-ca FILE "
    "--json";

struct client {
    const char     *called, *calling, *level, *root, *dest, *out, *cert, *key, *ca;
    bool            use_tls, json;
    struct scu_peer peer;
    struct tls     *tls;
    char          **args; // after HOST PORT
    int             n_args;
    struct arena    mem;
    struct scu_plan plan;
};

enum root_service { FIND = 1, MOVE, GET };

static struct str qr_uid(struct client *c, enum root_service s)
{
    char text[65];
    bool patient =
        strcmp(c->root, "patient") == 0 || (c->level != NULL && strcmp(c->level, "PATIENT") == 0);
    (void)snprintf(text, sizeof(text), "1.2.840.10008.5.1.4.1.2.%d.%d", patient ? 1 : 2, (int)s);
    return arena_str(&c->mem, str_of(text));
}

static int refused(uint16_t field, uint16_t status, const char *comment)
{
    (void)fprintf(stderr, "garonne: the node answers %04x, %s%s%s\n", status,
                  status_text(field, status), comment[0] != '\0' ? ": " : "", comment);
    return EXIT_FAILED;
}

/* ---- what is asked for: KEY=VALUE to a data set */

static bool parse_tag(struct str name, uint32_t *ret)
{
    const struct dict_entry *d = dict_find_keyword(name);
    uint64_t                 group, element;
    if (d != NULL) {
        *ret = d->tag;
        return true;
    }
    if (name.len != 9 || name.ptr[4] != ',' ||
        !parse_u64_base((struct str){name.ptr, 4}, 16, &group) ||
        !parse_u64_base((struct str){name.ptr + 5, 4}, 16, &element)) {
        return false;
    }
    *ret = TAG(group, element);
    return true;
}

static bool add_key(struct dset *d, const char *arg)
{
    size_t     n = strcspn(arg, "=");
    struct str value = arg[n] == '=' ? str_of(arg + n + 1) : STR("");
    uint32_t   tag;
    if (!parse_tag((struct str){arg, n}, &tag)) {
        (void)fprintf(stderr, "garonne: no attribute \"%.*s\" in the dictionary\n", (int)n, arg);
        return false;
    }
    enum err rc = dict_vr(tag) == VR_SQ      ? dset_put(d, tag, VR_SQ, (struct bytes){0})
                  : is_vr_text(dict_vr(tag)) ? dset_put_text(d, tag, value)
                                             : dset_put_str(d, tag, value);
    return rc == ERR_OK;
}

/* The level that was given, else that of the lowest unique key. */
static const char *level_of(const struct client *c, const struct dset *d)
{
    return c->level != NULL                             ? c->level
           : dset_find(d, DT_SOPInstanceUID) != NULL    ? "IMAGE"
           : dset_find(d, DT_SeriesInstanceUID) != NULL ? "SERIES"
                                                        : "STUDY";
}

static struct dset *make_keys(struct client *c)
{
    struct dset *d = dset_new(&c->mem);
    bool good = d != NULL && dset_put_str(d, DT_SpecificCharacterSet, STR("ISO_IR 192")) == ERR_OK;
    for (int i = 0; good && i < c->n_args; i++) {
        good = add_key(d, c->args[i]);
    }
    good = good && dset_put_str(d, DT_QueryRetrieveLevel, str_of(level_of(c, d))) == ERR_OK;
    return good ? d : NULL;
}

/* ---- echo */

static int echo(struct client *c, struct errmsg *e)
{
    struct assoc *a;
    uint16_t      status;
    enum err      rc = plan_add_service(&c->plan, STR("1.2.840.10008.1.1"), e);
    rc = rc == ERR_OK ? scu_connect(&c->peer, &c->plan, &a, e) : rc;
    if (rc != ERR_OK) {
        return fail(e, "echo");
    }
    rc = scu_echo(a, &status, e);
    rc = rc == ERR_OK ? assoc_release(a, e) : rc;
    assoc_free(a);
    if (rc != ERR_OK) {
        return fail(e, "echo");
    }
    return status == 0 ? EXIT_DONE : refused(C_ECHO_RQ, status, "");
}

/* ---- send */

struct file {
    char    *path;
    char     class_uid[65], sop_uid[65], syntax_uid[65];
    uint64_t data_at, size;
};

struct outbox {
    struct file *v; // owned
    size_t       n, room;
    unsigned     sent, warned, failed, foreign;
};

static struct outbox *filling; // nftw has no argument; one thread

static bool read_meta(const char *path, struct file *f)
{
    uint8_t            front[LIMIT_META];
    struct part10_meta m;
    struct stat        st;
    size_t             n = 0;
    int                fd = -1;
    bool good = file_open(path, O_RDONLY, 0, &fd, NULL) == ERR_OK && fstat(fd, &st) == 0 &&
                file_read_at(fd, 0, front, sizeof(front), &n, NULL) == ERR_OK &&
                part10_parse((struct bytes){front, n}, &m, NULL) == ERR_OK && !m.guessed &&
                m.class_uid.len < 65 && m.sop_uid.len < 65 && m.syntax_uid.len < 65 &&
                m.sop_uid.len > 0;
    if (fd >= 0) {
        file_close(&fd);
    }
    if (good) {
        *f = (struct file){.path = strdup(path), .data_at = m.size, .size = (uint64_t)st.st_size};
        memcpy(f->class_uid, m.class_uid.ptr, m.class_uid.len);
        memcpy(f->sop_uid, m.sop_uid.ptr, m.sop_uid.len);
        memcpy(f->syntax_uid, m.syntax_uid.ptr, m.syntax_uid.len);
    }
    return good && f->path != NULL;
}

static int gather(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    struct outbox *o = filling;
    (void)st;
    (void)at;
    if (kind != FTW_F) {
        return 0;
    }
    if (o->n == o->room) {
        size_t       room = o->room == 0 ? 256 : o->room * 2;
        struct file *v = reallocarray(o->v, room, sizeof(*v));
        if (v == NULL) {
            return 1;
        }
        o->v = v;
        o->room = room;
    }
    if (read_meta(path, &o->v[o->n])) {
        o->n++;
    } else {
        o->foreign++;
        (void)fprintf(stderr, "garonne: %s: not a DICOM file\n", path);
    }
    return 0;
}

static void send_one(struct assoc *a, struct outbox *box, const struct file *f)
{
    struct errmsg     e = {0};
    uint16_t          status = 0;
    int               fd = -1;
    struct dsrc_slice slice;
    struct scu_object o = {.class_uid = str_of(f->class_uid),
                           .sop_uid = str_of(f->sop_uid),
                           .syntax_uid = str_of(f->syntax_uid),
                           .fd_at = f->data_at,
                           .fd_len = f->size - f->data_at};
    enum err          rc = file_open(f->path, O_RDONLY, 0, &fd, &e);
    o.fd = fd;
    o.src = dsrc_of_slice(&slice, dsrc_of_fd(&fd, f->size), f->data_at, o.fd_len);
    rc = rc == ERR_OK ? scu_store(a, &o, &status, &e) : rc;
    if (fd >= 0) {
        file_close(&fd);
    }
    if (rc == ERR_OK && status == 0) {
        box->sent++;
    } else if (rc == ERR_OK && is_warning(status)) {
        box->warned++;
        (void)fprintf(stderr, "garonne: %s: warning %04x, %s\n", f->path, status,
                      status_text(C_STORE_RQ, status));
    } else {
        box->failed++;
        (void)fprintf(stderr, "garonne: %s: %s\n", f->path,
                      rc != ERR_OK ? e.text : status_text(C_STORE_RQ, status));
    }
}

/* As many files as fit the presentation contexts of one association; the number of files done with,
 * 0 on failure. */
static size_t send_some(struct client *c, struct outbox *box, size_t from, struct errmsg *e)
{
    struct assoc *a;
    size_t        n = from;
    plan_init(&c->plan, &c->mem);
    while (n < box->n && plan_add_object(&c->plan, str_of(box->v[n].class_uid),
                                         str_of(box->v[n].syntax_uid), NULL) == ERR_OK) {
        n++;
    }
    enum err rc = scu_connect(&c->peer, &c->plan, &a, e);
    if (rc == ERR_UNSUPPORTED) { // none of these, perhaps of the next ones
        box->failed += (unsigned)(n - from);
        *e = (struct errmsg){0};
        return n - from;
    }
    if (rc != ERR_OK) {
        return 0;
    }
    for (size_t i = from; i < n && is_associated(a); i++) {
        send_one(a, box, &box->v[i]);
    }
    bool good = is_associated(a) && assoc_release(a, e) == ERR_OK;
    assoc_free(a);
    return good ? n - from : 0;
}

static int send_files(struct client *c, struct errmsg *e)
{
    struct outbox box = {0};
    int           rc = EXIT_DONE;
    size_t        done = 0;
    filling = &box;
    for (int i = 0; i < c->n_args; i++) {
        int walked = nftw(c->args[i], gather, 64, FTW_PHYS); // NOLINT(concurrency-mt-unsafe)
        if (walked != 0) {
            (void)fprintf(stderr, "garonne: %s: cannot be read\n", c->args[i]);
            rc = EXIT_FAILED;
        }
    }
    filling = NULL;
    while (done < box.n) {
        size_t n = send_some(c, &box, done, e);
        if (n == 0) {
            rc = fail(e, "send");
            break;
        }
        done += n;
    }
    (void)printf(c->json
                     ? "{\"sent\":%u,\"warnings\":%u,\"failed\":%u,\"not_dicom\":%u,\"left\":%zu}\n"
                     : "%u sent, %u with warnings, %u failed, %u not DICOM, %zu left\n",
                 box.sent, box.warned, box.failed, box.foreign, box.n - done);
    for (size_t i = 0; i < box.n; i++) {
        free(box.v[i].path);
    }
    free(box.v);
    return box.failed > 0 ? EXIT_FAILED : rc;
}

/* ---- find */

static void print_row(const struct dset *d)
{
    bool first = true;
    for (size_t i = 0; i < d->n; i++) {
        const struct elem       *el = &d->elems[i];
        const struct dict_entry *x = dict_find(el->tag);
        if (el->vr == VR_SQ || el->tag == DT_SpecificCharacterSet ||
            el->tag == DT_QueryRetrieveLevel || el->tag == DT_RetrieveAETitle) {
            continue;
        }
        struct str v = dset_text(d, el->tag);
        (void)printf("%s%s=%.*s", first ? "" : "  ", x != NULL ? x->keyword : "?", STR_ARG(v));
        first = false;
    }
    (void)putchar('\n');
}

static enum err find_rows(struct client *c, struct scu_op *op, struct buf *out, struct errmsg *e)
{
    struct jsonw     w;
    struct json_opts o = {0};
    jsonw_init(&w, out);
    jsonw_arr(&w);
    for (;;) {
        CLEANUP(arena_done) struct arena row;
        arena_init(&row, LIMIT_DSET);
        struct dset *d = NULL;
        enum err     rc = scu_next(op, &row, &d, e);
        if (rc == ERR_NOTFOUND) {
            jsonw_arr_end(&w);
            return ERR_OK;
        }
        if (rc == ERR_OK && d != NULL && c->json) {
            rc = dsjson_write(d, &o, &w, e);
        } else if (rc == ERR_OK && d != NULL) {
            print_row(d);
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
}

static int find(struct client *c, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_MANIFEST);
    struct assoc *a;
    struct scu_op op = {0};
    struct dset  *keys = make_keys(c);
    struct str    uid = qr_uid(c, FIND);
    if (keys == NULL) {
        return EXIT_USAGE;
    }
    enum err rc = plan_add_service(&c->plan, uid, e);
    rc = rc == ERR_OK ? scu_connect(&c->peer, &c->plan, &a, e) : rc;
    if (rc != ERR_OK) {
        return fail(e, "find");
    }
    rc = scu_find(a, uid, keys, &op, e);
    rc = rc == ERR_OK ? find_rows(c, &op, &out, e) : rc;
    rc = rc == ERR_OK ? assoc_release(a, e) : rc;
    assoc_free(a);
    if (rc != ERR_OK) {
        return fail(e, "find");
    }
    if (c->json) {
        print_json(&out);
    }
    return op.status == 0 ? EXIT_DONE : refused(C_FIND_RQ, op.status, op.comment);
}

/* ---- move and get */

static int counts(const struct client *c, const struct scu_op *op)
{
    (void)printf(c->json ? "{\"completed\":%u,\"failed\":%u,\"warnings\":%u,\"status\":%u}\n"
                         : "%u completed, %u failed, %u with warnings, status %04x\n",
                 op->completed, op->failed, op->warning, op->status);
    return op->status == 0 ? EXIT_DONE : refused(op->field, op->status, op->comment);
}

static int move(struct client *c, struct errmsg *e)
{
    struct assoc *a;
    struct scu_op op = {0};
    struct dset  *keys = make_keys(c);
    struct str    uid = qr_uid(c, MOVE);
    if (keys == NULL || c->dest == NULL) {
        return usage(help);
    }
    enum err rc = plan_add_service(&c->plan, uid, e);
    rc = rc == ERR_OK ? scu_connect(&c->peer, &c->plan, &a, e) : rc;
    if (rc != ERR_OK) {
        return fail(e, "move");
    }
    rc = scu_move(a, uid, keys, str_of(c->dest), &op, e);
    while (rc == ERR_OK) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, LIMIT_DSET);
        struct dset *d;
        rc = scu_next(&op, &mem, &d, e);
    }
    rc = rc == ERR_NOTFOUND ? assoc_release(a, e) : rc;
    assoc_free(a);
    return rc == ERR_OK ? counts(c, &op) : fail(e, "move");
}

/* A file that appears whole or not at all; success is answered when it is on the disk. */
static enum err receive(struct client *c, struct assoc *a, const struct scu_incoming *in,
                        struct errmsg *e)
{
    CLEANUP(buf_done) struct buf head;
    buf_init(&head, LIMIT_META);
    char               path[LIMIT_PATH], aside[LIMIT_PATH];
    struct part10_meta m = {.class_uid = in->class_uid,
                            .sop_uid = in->sop_uid,
                            .syntax_uid = in->syntax_uid,
                            .source_aet = str_of(c->called)};
    int                fd = -1;
    bool               last = false;
    enum err           rc = is_uid_usable(in->sop_uid)
                                ? path_make(path, e, "%s/%.*s.dcm", c->out, STR_ARG(in->sop_uid))
                                : err_set(e, ERR_SYNTAX, "a SOP Instance UID that is no file name");
    rc = rc == ERR_OK ? path_make(aside, e, "%s.part", path) : rc;
    rc = rc == ERR_OK ? part10_write(&m, &head, e) : rc;
    rc = rc == ERR_OK ? file_open(aside, O_CREAT | O_TRUNC | O_WRONLY, 0640, &fd, e) : rc;
    rc = rc == ERR_OK ? file_write_at(fd, 0, (struct bytes){head.ptr, head.len}, e) : rc;
    for (uint64_t at = head.len; !last;) {
        struct bytes piece;
        enum err     net = msg_data(a, &piece, &last, e);
        if (net != ERR_OK) {
            rc = net;
            break;
        }
        rc = rc == ERR_OK ? file_write_at(fd, at, piece, e) : rc;
        at += piece.len;
    }
    rc = rc == ERR_OK ? file_sync(fd, e) : rc;
    if (fd >= 0) {
        file_close(&fd);
    }
    return rc == ERR_OK ? file_rename(aside, path, e) : rc;
}

static enum err receive_all(struct client *c, struct assoc *a, struct scu_op *op, struct errmsg *e)
{
    for (;;) {
        struct scu_incoming in;
        struct errmsg       why = {0};
        enum err            rc = scu_incoming(op, &in, e);
        if (rc != ERR_OK) {
            return rc == ERR_NOTFOUND ? ERR_OK : rc;
        }
        enum err got = receive(c, a, &in, &why);
        if (got != ERR_OK) {
            (void)fprintf(stderr, "garonne: %s\n", why.text);
        }
        if (!is_associated(a)) {
            *e = why;
            return got;
        }
        rc = scu_answer(op, got == ERR_OK ? 0 : got == ERR_LIMIT ? 0xA700 : 0xC000, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
}

static int get(struct client *c, struct errmsg *e)
{
    static const struct str syntaxes[] = {{"1.2.840.10008.1.2.1", 19}, {"1.2.840.10008.1.2", 17}};
    struct assoc           *a;
    struct scu_op           op = {0};
    struct dset            *keys = make_keys(c);
    struct str              uid = qr_uid(c, GET);
    if (keys == NULL || c->out == NULL) {
        return usage(help);
    }
    enum err rc = file_make_dirs(c->out, e);
    rc = rc == ERR_OK ? plan_add_service(&c->plan, uid, e) : rc;
    rc = rc == ERR_OK ? plan_add_all_incoming(&c->plan, syntaxes, 2, e) : rc;
    rc = rc == ERR_OK ? scu_connect(&c->peer, &c->plan, &a, e) : rc;
    if (rc != ERR_OK) {
        return fail(e, "get");
    }
    rc = scu_get(a, uid, keys, &op, e);
    rc = rc == ERR_OK ? receive_all(c, a, &op, e) : rc;
    rc = rc == ERR_OK ? assoc_release(a, e) : rc;
    assoc_free(a);
    return rc == ERR_OK ? counts(c, &op) : fail(e, "get");
}

/* ---- all */

static int prepare(struct client *c, char **argv, int n, struct errmsg *e)
{
    uint32_t port;
    if (n < 2 || !opt_u32("PORT", argv[2], UINT16_MAX, &port)) {
        return usage(help);
    }
    if (strcmp(c->root, "patient") != 0 && strcmp(c->root, "study") != 0) {
        return usage("--root is patient or study");
    }
    if (!is_aet(str_of(c->called)) || !is_aet(str_of(c->calling))) {
        return usage("an AE title is 1 to 16 printable ASCII characters without a backslash");
    }
    c->args = argv + 3;
    c->n_args = n - 2;
    struct tls_conf tc = {.cert = c->cert, .key = c->key, .ca = c->ca};
    if ((c->use_tls || c->cert != NULL || c->ca != NULL) && tls_new(&tc, &c->tls, e) != ERR_OK) {
        return fail(e, "TLS");
    }
    c->peer = (struct scu_peer){.host = str_of(argv[1]),
                                .port = (uint16_t)port,
                                .called = str_of(c->called),
                                .calling = str_of(c->calling),
                                .tls = c->tls};
    return EXIT_DONE;
}

int cmd_scu(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*fn)(struct client *c, struct errmsg *e);
    } verbs[] = {
        {"echo", echo}, {"send", send_files}, {"find", find}, {"get", get}, {"move", move}};
    struct client    c = {.called = "ANY-SCP", .calling = "GARONNE", .root = "study"};
    const struct opt opts[] = {
        {"--called", &c.called, NULL}, {"--calling", &c.calling, NULL}, {"--level", &c.level, NULL},
        {"--root", &c.root, NULL},     {"--dest", &c.dest, NULL},       {"--out", &c.out, NULL},
        {"--tls-cert", &c.cert, NULL}, {"--tls-key", &c.key, NULL},     {"--tls-ca", &c.ca, NULL},
        {"--tls", NULL, &c.use_tls},   {"--json", NULL, &c.json}};
    struct errmsg e = {0};
    int           n = 0;
    arena_init(&c.mem, LIMIT_DSET);
    plan_init(&c.plan, &c.mem);
    int rc = opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n)
                 ? prepare(&c, argv, n, &e)
                 : usage(help);
    for (size_t i = 0; rc == EXIT_DONE && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(argv[0], verbs[i].name) == 0) {
            rc = verbs[i].fn(&c, &e);
            break;
        }
    }
    tls_free(c.tls);
    arena_done(&c.mem);
    return rc;
}
