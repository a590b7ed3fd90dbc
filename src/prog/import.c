/*
 * garonne import: folders, single files, DICOMDIRs, ZIP and tar files.
 *
 * What was taken is noted in <data>/import/<tenant>-<hash of the path>.done, a line each, after it
 * is durable in the archive; a second run goes on where the first was cut.  The note goes when an
 * import ends without failures.
 */
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "dicom/dicomdir.h"
#include "dicom/part10.h"
#include "dicom/tags.h"
#include "prog/cli.h"
#include "prog/zip.h"
#include "sys/file.h"

static const char help[] = "usage: garonne import PATH… --tenant CODE --data DIR [--json]\n"
                           "PATH: a folder, a DICOM file, a DICOMDIR, a .zip or .tar(.gz)";

struct names { // a list of owned strings
    char **v;
    size_t n, room;
};

struct import {
    struct archive *archive;
    struct tenant   tenant;
    struct names    todo, done; // done: sorted
    FILE           *notes;
    uint64_t        stored, duplicates, quarantined, failed, foreign, resumed, missing, bytes;
    size_t          at;
    bool            tty;
    int64_t         drawn_ns;
};

static bool names_add(struct names *l, const char *text)
{
    if (l->n == l->room) {
        size_t room = l->room == 0 ? 256 : l->room * 2;
        char **v = reallocarray(l->v, room, sizeof(*v));
        if (v == NULL) {
            return false;
        }
        l->v = v;
        l->room = room;
    }
    l->v[l->n] = strdup(text);
    return l->v[l->n++] != NULL;
}

static void names_free(struct names *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i]);
    }
    free(l->v);
    *l = (struct names){0};
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_done(const struct import *m, const char *name)
{
    return m->done.n > 0 && bsearch(&name, m->done.v, m->done.n, sizeof(char *), compare) != NULL;
}

static void note_done(struct import *m, const char *name)
{
    if (m->notes != NULL && strchr(name, '\n') == NULL) {
        (void)fprintf(m->notes, "%s\n", name);
        (void)fflush(m->notes);
    }
}

static void draw(struct import *m, bool last)
{
    int64_t now = clock_mono_ns();
    if (!m->tty || (!last && now - m->drawn_ns < 100000000)) {
        return;
    }

    enum { WIDTH = 40 };

    char   bar[WIDTH + 1];
    size_t full = m->todo.n > 0 ? m->at * WIDTH / m->todo.n : WIDTH;
    m->drawn_ns = now;
    for (size_t i = 0; i < WIDTH; i++) {
        bar[i] = i < full ? '#' : '.';
    }
    bar[WIDTH] = '\0';
    (void)fprintf(stderr, "\r[%s] %zu/%zu files, %llu stored, %llu duplicates, %llu failed%s", bar,
                  m->at, m->todo.n, (unsigned long long)m->stored,
                  (unsigned long long)m->duplicates, (unsigned long long)m->failed,
                  last ? "\n" : "");
}

static void told(struct import *m, const char *name, const struct errmsg *e)
{
    m->failed++;
    (void)fprintf(stderr, "%sgaronne: %s: %s\n", m->tty ? "\r" : "", name,
                  e->text[0] != '\0' ? e->text : err_name(e->code));
}

/* Class and instance as the data set names them: the meta information may be missing, or that of
 * the file it was copied from. */
static enum err identify(const struct dsrc *src, struct arena *a, struct part10_meta *meta,
                         struct errmsg *e)
{
    struct parse_opts opts = {.max_value = 1024, .stop_tag = DT_StudyDate, .lenient = LENIENT_ALL};
    struct dset      *d;
    enum err          rc = dset_read(src, meta->size, meta->syntax, &opts, a, &d, e);
    if (rc != ERR_OK) {
        return rc;
    }
    meta->class_uid = has_value(d, DT_SOPClassUID) ? dset_str(d, DT_SOPClassUID) : meta->class_uid;
    meta->sop_uid =
        has_value(d, DT_SOPInstanceUID) ? dset_str(d, DT_SOPInstanceUID) : meta->sop_uid;
    meta->syntax_uid = meta->syntax_uid.len > 0 ? meta->syntax_uid : str_of(meta->syntax->uid);
    return ERR_OK;
}

static void counted(struct import *m, enum ingest_outcome o)
{
    m->stored += o == INGEST_STORED ? 1 : 0;
    m->duplicates += o == INGEST_DUPLICATE ? 1 : 0;
    m->quarantined += o == INGEST_QUARANTINED ? 1 : 0;
}

static enum err send_all(struct import *m, const struct dsrc *src, const struct part10_meta *meta,
                         struct errmsg *e)
{
    static uint8_t      buf[256 << 10]; // one thread
    struct ingest_from  from = {.tenant_id = m->tenant.id,
                                .tenant = m->tenant.code,
                                .calling = STR("IMPORT"),
                                .called = m->tenant.aet,
                                .address = STR("local")};
    struct ingest      *i;
    enum ingest_outcome o;
    enum err            rc =
        ingest_begin(m->archive, &from, meta->class_uid, meta->sop_uid, meta->syntax_uid, &i, e);
    if (rc != ERR_OK) {
        return rc;
    }
    for (uint64_t at = meta->size; rc == ERR_OK;) {
        size_t n = 0;
        rc = src->read(src->ctx, at, buf, sizeof(buf), &n, e);
        if (rc != ERR_OK || n == 0) {
            break;
        }
        rc = ingest_add(i, (struct bytes){buf, n}, e);
        at += n;
        m->bytes += n;
    }
    if (rc != ERR_OK) {
        ingest_abort(i);
        return rc;
    }
    rc = ingest_commit(i, &o, e);
    if (rc == ERR_OK) {
        counted(m, o);
    }
    return rc;
}

static bool is_media_directory(struct str class_uid)
{
    return str_eq(class_uid, STR("1.2.840.10008.1.3.10"));
}

/* ERR_NOTFOUND: not a DICOM object. */
static enum err import_source(struct import *m, const struct dsrc *src, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_VALUE);
    struct errmsg      why = {0};
    struct part10_meta meta;
    uint8_t           *front = arena_alloc(&a, LIMIT_META, 1);
    size_t             n = 0;
    enum err           rc = src->read(src->ctx, 0, front, LIMIT_META, &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    rc = part10_parse((struct bytes){front, n}, &meta, &why);
    if (rc == ERR_MORE || rc == ERR_SYNTAX) {
        bool dicom = n >= 132 && memcmp(front + 128, "DICM", 4) == 0;
        return dicom ? err_set(e, ERR_SYNTAX, "%s", why.text[0] != '\0' ? why.text : "cut short")
                     : ERR_NOTFOUND;
    }
    if (rc != ERR_OK || is_media_directory(meta.class_uid)) {
        return rc != ERR_OK ? rc : ERR_NOTFOUND;
    }
    rc = identify(src, &a, &meta, &why);
    if (meta.guessed && (rc != ERR_OK || meta.sop_uid.len == 0)) {
        return ERR_NOTFOUND; // bytes that only looked a little like a data set
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", why.text);
    }
    return send_all(m, src, &meta, e);
}

static enum err import_fd(struct import *m, int fd, struct errmsg *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_set(e, ERR_IO, "fstat");
    }
    struct dsrc src = dsrc_of_fd(&fd, (uint64_t)st.st_size);
    return import_source(m, &src, e);
}

/* false: give up (no room). */
static bool settle(struct import *m, const char *name, enum err rc, const struct errmsg *e)
{
    if (rc == ERR_NOTFOUND) {
        m->foreign++;
    } else if (rc != ERR_OK) {
        told(m, name, e);
    }
    if (rc == ERR_OK || rc == ERR_NOTFOUND) {
        note_done(m, name);
    }
    return rc != ERR_LIMIT;
}

/* A member is spooled to an unnamed file: its data set may be larger than memory, and is read
 * twice. */
static enum err spool(struct zip *z, int fd, struct errmsg *e)
{
    static uint8_t buf[256 << 10]; // one thread
    uint64_t       at = 0;
    for (;;) {
        size_t   n = 0;
        enum err rc = zip_read(z, buf, sizeof(buf), &n, e);
        if (rc != ERR_OK || n == 0) {
            return rc;
        }
        rc = file_write_at(fd, at, (struct bytes){buf, n}, e);
        if (rc != ERR_OK) {
            return rc;
        }
        at += n;
        if (at > LIMIT_ZIP_MEMBER) {
            return err_set(e, ERR_LIMIT, "member over %llu bytes",
                           (unsigned long long)LIMIT_ZIP_MEMBER);
        }
    }
}

static bool import_zip(struct import *m, const char *path)
{
    struct errmsg e = {0};
    struct zip   *z = NULL;
    struct str    member;
    bool          go_on = true;
    enum err      rc = zip_open(path, &z, &e);
    while (rc == ERR_OK && go_on && (rc = zip_next(z, &member, &e)) == ERR_OK) {
        char name[2 * PATH_MAX];
        (void)snprintf(name, sizeof(name), "%s//%.*s", path, STR_ARG(member));
        if (is_done(m, name)) {
            m->resumed++;
            continue;
        }
        int fd = open(archive_root(m->archive), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        rc = fd < 0 ? file_errno(&e, "open", archive_root(m->archive)) : spool(z, fd, &e);
        if (rc == ERR_OK) {
            struct errmsg why = {0};
            go_on = settle(m, name, import_fd(m, fd, &why), &why);
        }
        (void)close(fd);
        draw(m, false);
    }
    zip_close(z);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        told(m, path, &e);
    }
    return go_on;
}

static bool has_ending(const char *path, const char *ending)
{
    size_t n = strlen(path), k = strlen(ending);
    return n >= k && strcasecmp(path + n - k, ending) == 0;
}

static bool import_file(struct import *m, const char *path)
{
    struct errmsg e = {0};
    int           fd = -1;
    if (is_done(m, path)) {
        m->resumed++;
        return true;
    }
    if (has_ending(path, ".zip") || has_ending(path, ".tar") || has_ending(path, ".tar.gz") ||
        has_ending(path, ".tgz")) {
        return import_zip(m, path);
    }
    enum err rc = file_open(path, O_RDONLY, 0, &fd, &e);
    if (rc == ERR_NOTFOUND) {
        m->missing++;
    }
    rc = rc == ERR_OK ? import_fd(m, fd, &e) : ERR_IO;
    bool go_on = settle(m, path, rc, &e);
    if (fd >= 0) {
        file_close(&fd);
    }
    return go_on;
}

static struct names *walked; // nftw has no argument; one thread

static int walk(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)at;
    return kind == FTW_F && !names_add(walked, path) ? 1 : 0;
}

static void check_reference(struct import *m, const char *dicomdir, struct str ref)
{
    char        want[2 * PATH_MAX];
    const char *slash = strrchr(dicomdir, '/');
    int         dir = slash != NULL ? (int)(slash - dicomdir) : 0;
    (void)snprintf(want, sizeof(want), "%.*s%s%.*s", dir, dicomdir, dir > 0 ? "/" : "",
                   STR_ARG(ref));
    for (size_t k = 0; k < m->todo.n; k++) {
        if (strcasecmp(m->todo.v[k], want) == 0) { // discs come back in either case
            return;
        }
    }
    m->missing++;
    (void)fprintf(stderr, "garonne: %s: named by the DICOMDIR, not on the medium\n", want);
}

/* What a DICOMDIR names and the medium lacks is told; the files themselves are found by walking its
 * folder. */
static void check_dicomdir(struct import *m, const char *path)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct errmsg      e = {0};
    struct part10_meta meta;
    struct dset       *d;
    struct parse_opts  opts = {.lenient = LENIENT_ALL};
    struct str        *refs = NULL;
    size_t             n = 0, bad = 0;
    int                fd = -1;
    enum err           rc = file_open(path, O_RDONLY, 0, &fd, &e);
    struct dsrc        src = dsrc_of_fd(&fd, UINT64_MAX);
    rc = rc == ERR_OK ? part10_read(&src, &opts, &a, &meta, &d, &e) : rc;
    rc = rc == ERR_OK ? dicomdir_paths(d, &a, &refs, &n, &bad, &e) : rc;
    if (fd >= 0) {
        file_close(&fd);
    }
    if (rc != ERR_OK) {
        told(m, path, &e);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        check_reference(m, path, refs[i]);
    }
    m->failed += bad;
}

static bool gather(struct import *m, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        struct errmsg e = {0};
        (void)file_errno(&e, "stat", path);
        told(m, path, &e);
        return true;
    }
    const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    char        folder[PATH_MAX];
    bool        media = S_ISREG(st.st_mode) && strcasecmp(base, "DICOMDIR") == 0;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(base - path), path);
    if (media && folder[0] == '\0') {
        (void)snprintf(folder, sizeof(folder), ".");
    }
    if (!S_ISDIR(st.st_mode) && !media) {
        return names_add(&m->todo, path);
    }
    size_t from = m->todo.n;
    walked = &m->todo;
    const char *top = media ? folder : path;
    int         rc = nftw(top, walk, 64, FTW_PHYS); // NOLINT(concurrency-mt-unsafe): one thread
    walked = NULL;
    if (rc != 0) {
        return false;
    }
    qsort(m->todo.v + from, m->todo.n - from, sizeof(char *), compare);
    for (size_t i = from; i < m->todo.n; i++) {
        const char *name = strrchr(m->todo.v[i], '/');
        if (strcasecmp(name != NULL ? name + 1 : m->todo.v[i], "DICOMDIR") == 0) {
            check_dicomdir(m, m->todo.v[i]);
        }
    }
    return true;
}

static void notes_path(const struct import *m, const char *data, const char *first,
                       char ret[PATH_MAX])
{
    char  full[PATH_MAX];
    char *ok = realpath(first, full);
    (void)snprintf(ret, PATH_MAX, "%s/import/%.*s-%016llx.done", data, STR_ARG(m->tenant.code),
                   (unsigned long long)XXH3_64bits(ok != NULL ? full : first,
                                                   strlen(ok != NULL ? full : first)));
}

static enum err notes_open(struct import *m, const char *path, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf old;
    buf_init(&old, LIMIT_MANIFEST);
    char dir[PATH_MAX];
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    enum err rc = file_make_dirs(dir, e);
    if (rc == ERR_OK && file_read_all(path, &old, NULL) == ERR_OK) {
        buf_u8(&old, '\0');
        char *save = NULL;
        for (char *line = strtok_r((char *)old.ptr, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save)) { // allow-banned: the _r form
            if (!names_add(&m->done, line)) {
                return err_set(e, ERR_NOMEM, "notes of the last run");
            }
        }
        if (m->done.n > 0) {
            qsort(m->done.v, m->done.n, sizeof(char *), compare);
        }
    }
    m->notes = rc == ERR_OK ? fopen(path, "a") : NULL;
    return rc;
}

static void report(const struct import *m, bool json)
{
    const struct {
        const char *key;
        uint64_t    v;
    } n[] = {{"stored", m->stored},           {"duplicates", m->duplicates},
             {"quarantined", m->quarantined}, {"failed", m->failed},
             {"not_dicom", m->foreign},       {"missing", m->missing},
             {"resumed", m->resumed},         {"bytes", m->bytes}};

    for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
        (void)printf(json ? "%s\"%s\":%llu" : "%s%s %llu",
                     i == 0 ? (json ? "{" : "") : (json ? "," : ", "), n[i].key,
                     (unsigned long long)n[i].v);
    }
    (void)puts(json ? "}" : "");
}

static int run(struct import *m, const struct place *p, char **paths, int n)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_ASSOC_ARENA);
    struct errmsg e = {0};
    char          notes[PATH_MAX];
    bool          go_on = true;
    notes_path(m, p->data, paths[0], notes);
    if (notes_open(m, notes, &e) != ERR_OK) {
        return fail(&e, "import");
    }
    for (int i = 0; i < n && go_on; i++) {
        go_on = gather(m, paths[i]);
    }
    for (; go_on && m->at < m->todo.n; m->at++) {
        draw(m, false);
        go_on = import_file(m, m->todo.v[m->at]);
    }
    draw(m, true);
    size_t   sealed = 0;
    enum err rc = archive_seal(m->archive, 0, &sealed, &e);
    if (m->notes != NULL) {
        (void)fclose(m->notes);
    }
    if (m->failed == 0 && go_on) {
        (void)unlink(notes);
    }
    if (rc != ERR_OK) {
        (void)fail(&e, "sealing");
    }
    report(m, p->json);
    return go_on && m->failed == 0 && m->missing == 0 && rc == ERR_OK ? EXIT_DONE : EXIT_FAILED;
}

int cmd_import(int argc, char **argv)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_ASSOC_ARENA);
    struct place     p = {0};
    const char      *tenant = NULL;
    const struct opt opts[] = {PLACE_OPTS(p), {"--tenant", &tenant, NULL}};
    struct import    m = {.tty = isatty(STDERR_FILENO) == 1};
    struct errmsg    e = {0};
    int              n = 0;
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n < 1 ||
        tenant == NULL) {
        return usage(help);
    }
    struct pixel_pool *pixel = NULL; // for packs that it seals
    if (pixel_pool_new(&(struct pixel_conf){0}, &pixel, &e) != ERR_OK) {
        return fail(&e, "import");
    }
    int rc = archive_place(&p, (struct archive_conf){.pixel = pixel}, &m.archive);
    if (rc != EXIT_DONE) {
        pixel_pool_free(pixel);
        return rc;
    }
    struct db *db = db_pool_take(archive_db(m.archive), &e);
    enum err   err = db == NULL ? e.code : tenant_by_code(db, str_of(tenant), &a, &m.tenant, &e);
    db_pool_give(archive_db(m.archive), db);
    rc = err == ERR_OK ? run(&m, &p, argv + 1, n) : fail(&e, "import");
    names_free(&m.todo);
    names_free(&m.done);
    archive_close(m.archive);
    pixel_pool_free(pixel);
    return rc;
}
