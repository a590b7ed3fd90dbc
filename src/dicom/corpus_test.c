/*
 * Real files: those of GARONNE_CORPUS (or ../shared/corpus beside the source tree), and those that
 * pydicom ships.  Skipped, with a word, where they are absent.
 */
#include <fts.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dicom/check_priv.h"
#include "dicom/convert.h"
#include "dicom/frames.h"
#include "dicom/part10.h"

static const size_t FILE_MAX = 32 << 20, TOKENS_MAX = 100 << 10;

static const struct syntax *const plain[] = {&SYNTAX_IMPLICIT, &SYNTAX_EXPLICIT, &SYNTAX_BIG,
                                             &SYNTAX_DEFLATED};

static const char PYDICOM[] = "/usr/lib/python3/dist-packages/pydicom/data";

struct tally {
    unsigned files, refused, canonical, converted, frames;
};

static struct bytes tail_of(struct bytes file, size_t at)
{
    struct cur c = cur_of(file);
    (void)cur_bytes(&c, at);
    return cur_bytes(&c, cur_left(&c));
}

static enum err to_buf(void *ctx, struct bytes piece, struct errmsg *e)
{
    struct buf *b = ctx;
    (void)e;
    buf_add(b, piece);
    return b->err;
}

/* Write and parse again; is one of the two ways to write the very bytes of the file? */
static bool check_written(const char *path, const struct dset *d, const struct syntax *s,
                          struct bytes original)
{
    bool canonical = false;
    for (int undefined = 0; undefined < 2; undefined++) {
        CLEANUP(buf_done) struct buf     b;
        CLEANUP(arena_done) struct arena a;
        buf_init(&b, 2 * FILE_MAX);
        arena_init(&a, 4 * FILE_MAX);
        struct parse_opts o = {.max_value = UINT32_MAX};
        struct dset      *back;
        struct errmsg     e = {0};
        enum err          rc = dset_write(d, s, undefined != 0, &b, &e);
        if (rc == ERR_UNSUPPORTED) { // a fragment was cut short
            return false;
        }
        struct bytes written = {b.ptr, b.len};
        rc = rc == ERR_OK ? dset_parse(written, s, &o, &a, &back, &e) : rc;
        if (rc != ERR_OK || !same_dset(d, back, s->explicit_vr)) {
            fail_msg("%s: written and read again: %s", path, e.text);
        }
        canonical |= bytes_eq(written, original);
    }
    return canonical;
}

static void check_converted(const char *path, const struct dset *d, const struct dsrc *src,
                            const struct part10_meta *m)
{
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        CLEANUP(buf_done) struct buf     to;
        CLEANUP(buf_done) struct buf     back;
        CLEANUP(arena_done) struct arena a;
        buf_init(&to, 2 * FILE_MAX);
        buf_init(&back, 2 * FILE_MAX);
        arena_init(&a, 4 * FILE_MAX);
        struct errmsg     e = {0};
        struct parse_opts o = {.max_value = UINT32_MAX, .lenient = LENIENT_ALL};
        struct dset      *x = NULL;
        enum err          rc = convert_stream(src, m->size, m->syntax, plain[i], to_buf, &to, &e);
        if (rc == ERR_OK) {
            struct bytes in = {to.ptr, to.len};
            struct dsrc  again = dsrc_of_bytes(&in);
            rc = convert_stream(&again, 0, plain[i], m->syntax, to_buf, &back, &e);
        }
        rc = rc == ERR_OK
                 ? dset_parse((struct bytes){back.ptr, back.len}, m->syntax, &o, &a, &x, &e)
                 : rc;
        if (rc != ERR_OK || !same_dset(d, x, false)) {
            fail_msg("%s: through %s and back: %s", path, plain[i]->name, e.text);
        }
    }
}

static void check_tokens(const char *path, struct bytes data, const struct syntax *s)
{
    enum err whole_rc, rc;
    uint64_t whole;
    data.len = data.len < TOKENS_MAX ? data.len : TOKENS_MAX; // a cut end is a good case too
    whole = sum_tokens(data, s, LENIENT_ALL, SIZE_MAX, &whole_rc);
    for (size_t step = 1; step < 20; step += 12) {
        if (sum_tokens(data, s, LENIENT_ALL, step, &rc) != whole || rc != whole_rc) {
            fail_msg("%s: windows of %zu bytes differ", path, step);
        }
    }
}

static void check_file(const char *path, struct bytes file, bool may_fail, struct tally *t)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 4 * FILE_MAX);
    struct dsrc        src = dsrc_of_bytes(&file);
    struct parse_opts  o = {.lenient = LENIENT_ALL};
    struct part10_meta m;
    struct dset       *d, *read;
    struct errmsg      e = {0};
    t->files++;
    enum err rc = part10_read(&src, &o, &a, &m, &read, &e);
    if (rc != ERR_OK) {
        t->refused++;
        if (!may_fail) {
            fail_msg("%s: %s", path, e.text);
        }
        assert_true(e.text[0] != 0);
        return;
    }
    struct bytes data = tail_of(file, m.size);
    o = (struct parse_opts){.max_value = UINT32_MAX, .lenient = LENIENT_ALL};
    rc = dset_parse(data, m.syntax, &o, &a, &d, &e);
    if (rc != ERR_OK) {
        fail_msg("%s: a source reads, memory does not: %s", path, e.text);
    }
    t->canonical += check_written(path, d, m.syntax, data);
    if (!m.syntax->deflated) {
        check_tokens(path, data, m.syntax);
    }
    bool cut = (o.seen & LENIENT_SHORT_PIXELS) != 0;
    if (is_convertible(m.syntax, &SYNTAX_IMPLICIT) && !cut) {
        check_converted(path, d, &src, &m);
        t->converted++;
    }
    struct frames f;
    rc = m.syntax->deflated ? ERR_NOTFOUND : frames_find(read, &src, &a, &f, &e);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) { // pixel data in name only
        print_message("%s: %s\n", path, e.text);
    }
    t->frames += rc == ERR_OK ? (unsigned)f.n : 0;
}

/* Says of each file whether it may be refused. */
typedef bool may_fail_fn(const char *path);

static bool is_malformed(const char *path)
{
    return strstr(path, "/malformed/") != NULL;
}

static bool is_no_dicom(const char *path)
{
    static const char *const names[] = {".json",   ".md",       ".txt",    ".dump",
                                        ".gz",     ".pyc",      ".py",     "README",
                                        "no_meta", "truncated", "nooffset"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strstr(path, names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void walk(const char *folder, may_fail_fn *may_fail, struct tally *t)
{
    char *const roots[] = {(char *)folder, NULL};
    FTS        *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    assert_non_null(fts);
    uint8_t *buf = test_malloc(FILE_MAX);
    for (FTSENT *x = fts_read(fts); x != NULL; x = fts_read(fts)) {
        FILE *f = x->fts_info == FTS_F ? fopen(x->fts_accpath, "rb") : NULL;
        if (f != NULL) {
            size_t n = fread(buf, 1, FILE_MAX, f);
            (void)fclose(f);
            check_file(x->fts_path, (struct bytes){buf, n}, may_fail(x->fts_path), t);
        }
    }
    test_free(buf);
    (void)fts_close(fts);
    print_message("%s: %u files, %u refused, %u as we write them, %u converted, %u frames\n",
                  folder, t->files, t->refused, t->canonical, t->converted, t->frames);
}

static bool exists(const char *folder)
{
    FILE *f = fopen(folder, "rb");
    if (f == NULL) {
        print_message("%s is not here: skipped\n", folder);
        return false;
    }
    (void)fclose(f);
    return true;
}

static void corpus_reads_writes_and_converts(void **state)
{
    (void)state;
    char        folder[4096];
    const char *corpus = getenv("GARONNE_CORPUS"); // NOLINT(concurrency-mt-unsafe): one thread
    const char *source = getenv("GARONNE_SOURCE"); // NOLINT(concurrency-mt-unsafe)
    int         n = corpus != NULL ? snprintf(folder, sizeof(folder), "%s/dicom", corpus)
                                   : snprintf(folder, sizeof(folder), "%s/../shared/corpus/dicom",
                                      source != NULL ? source : ".");
    assert_true(n > 0 && (size_t)n < sizeof(folder));
    if (!exists(folder)) {
        skip();
    }
    struct tally t = {0};
    walk(folder, is_malformed, &t);
    assert_true(t.files > t.refused);
}

static void files_of_pydicom_read_write_and_convert(void **state)
{
    (void)state;
    if (!exists(PYDICOM)) {
        skip();
    }
    struct tally t = {0};
    walk(PYDICOM, is_no_dicom, &t);
    assert_true(t.files > t.refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus_reads_writes_and_converts),
        cmocka_unit_test(files_of_pydicom_read_write_and_convert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
