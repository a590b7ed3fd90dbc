/* garonne export: a plain tree of DICOM files, STUDY/SERIES/SOP.dcm, with SHA256SUMS by series;
 * verified by `garonne verify --export`. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "dicom/tags.h"
#include "pack/digest.h"
#include "prog/cli.h"
#include "sys/file.h"

static const char help[] =
    "usage: garonne export --tenant CODE --out DIR [--study UID] --data DIR [--json]";

struct export
{
    struct archive *archive;
    const char     *out;
    uint64_t        images, series, present, bytes, failed;
};

/* Copy through a buffer and hash on the way. */
static enum err copy(const struct object_file *f, int to, char ret_sha[65], struct errmsg *e)
{
    static uint8_t                     buf[256 << 10]; // one thread
    CLEANUP(digest_done) struct digest h = {0};
    enum err                           rc = digest_init(&h, e);
    for (uint64_t at = 0; rc == ERR_OK && at < f->size;) {
        size_t n = f->size - at < sizeof(buf) ? (size_t)(f->size - at) : sizeof(buf);
        rc = file_read_full(f->fd, f->at + at, buf, n, e);
        if (rc == ERR_OK && to >= 0) {
            rc = file_write_at(to, at, (struct bytes){buf, n}, e);
        }
        if (rc == ERR_OK) {
            digest_add(&h, (struct bytes){buf, n});
        }
        at += n;
    }
    return rc == ERR_OK ? digest_end(&h, ret_sha, NULL, e) : rc;
}

/* An object that is there already with its whole size is not written again: an interrupted export
 * goes on. */
static enum err export_object(struct export *x, const struct object *o, const char *dir,
                              struct buf *sums, struct errmsg *e)
{
    char               path[LIMIT_PATH], aside[LIMIT_PATH], sha[65];
    struct object_file f;
    struct stat        st;
    int                fd = -1;
    enum err           rc = path_make(path, e, "%s/%s.dcm", dir, o->image.sop_uid);
    rc = rc == ERR_OK ? path_make(aside, e, "%s.part", path) : rc;
    rc = rc == ERR_OK ? object_open(x->archive, o, &f, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    bool present = stat(path, &st) == 0 && (uint64_t)st.st_size == f.size;
    if (!present) {
        rc = file_open(aside, O_CREAT | O_TRUNC | O_WRONLY, 0640, &fd, e);
    }
    if (rc == ERR_OK) {
        rc = copy(&f, fd, sha, e);
    }
    if (rc == ERR_OK && !present) {
        rc = file_sync(fd, e);
    }
    if (rc == ERR_OK && !present && rename(aside, path) != 0) {
        rc = file_errno(e, "rename", aside);
    }
    if (fd >= 0) {
        file_close(&fd);
    }
    object_close(&f);
    if (rc == ERR_OK) {
        buf_fmt(sums, "%s  %s.dcm\n", sha, o->image.sop_uid);
        x->images++;
        x->present += present ? 1 : 0;
        x->bytes += o->image.size;
    }
    return rc;
}

static enum err export_series(struct export *x, const struct find_row *row, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_OBJECT_LIST);
    CLEANUP(buf_done) struct buf sums;
    buf_init(&sums, LIMIT_MANIFEST);
    char       dir[LIMIT_PATH], path[LIMIT_PATH];
    struct str study = dset_str(row->dset, DT_StudyInstanceUID),
               series = dset_str(row->dset, DT_SeriesInstanceUID);
    struct object *o;
    size_t         n;
    enum err       rc = path_make(dir, e, "%s/%.*s/%.*s", x->out, STR_ARG(study), STR_ARG(series));
    rc = rc == ERR_OK ? path_make(path, e, "%s/SHA256SUMS", dir) : rc;
    rc = rc == ERR_OK ? archive_list(x->archive, row->ids.series_id, &mem, &o, &n, e) : rc;
    if (rc == ERR_OK) {
        rc = file_make_dirs(dir, e);
    }
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        struct errmsg why = {0};
        if (export_object(x, &o[i], dir, &sums, &why) != ERR_OK) {
            x->failed++;
            (void)fprintf(stderr, "garonne: %s: %s\n", o[i].image.sop_uid, why.text);
            rc = why.code == ERR_LIMIT ? err_set(e, ERR_LIMIT, "%s", why.text)
                                       : ERR_OK; // a full disk will not get better
        }
    }
    x->series++;
    return rc == ERR_OK ? file_commit(path, (struct bytes){sums.ptr, sums.len}, 0640, e) : rc;
}

static enum err export_all(struct export *x, struct db *db, const char *tenant, const char *study,
                           struct errmsg *e)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct tenant t;
    struct dset  *keys = dset_new(&a);
    struct find  *f = NULL;
    enum err      rc = tenant_by_code(db, str_of(tenant), &a, &t, e);
    if (rc == ERR_OK && study != NULL) {
        rc = dset_put_str(keys, DT_StudyInstanceUID, str_of(study));
    }
    if (rc == ERR_OK) {
        rc = index_find(db, t.id, LEVEL_SERIES, keys, &f, e);
    }
    while (rc == ERR_OK) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, LIMIT_FIND_ROW);
        struct find_row row;
        rc = find_next(f, &mem, &row, e);
        if (rc == ERR_OK) {
            rc = export_series(x, &row, e);
        }
    }
    find_free(f);
    return rc == ERR_NOTFOUND && f != NULL ? ERR_OK : rc;
}

static void report(const struct export *x, bool json)
{
    if (!json) {
        (void)printf(
            "%llu images of %llu series, %llu MB, in %s (%llu were there already); %llu failed\n",
            (unsigned long long)x->images, (unsigned long long)x->series,
            (unsigned long long)(x->bytes >> 20), x->out, (unsigned long long)x->present,
            (unsigned long long)x->failed);
        return;
    }
    (void)printf(
        "{\"images\":%llu,\"series\":%llu,\"bytes\":%llu,\"present\":%llu,\"failed\":%llu}\n",
        (unsigned long long)x->images, (unsigned long long)x->series, (unsigned long long)x->bytes,
        (unsigned long long)x->present, (unsigned long long)x->failed);
}

int cmd_export(int argc, char **argv)
{
    struct place p = {0};
    const char  *tenant = NULL, *study = NULL;
    struct export x = {0};
    const struct opt opts[] = {PLACE_OPTS(p),
                               {"--tenant", &tenant, NULL},
                               {"--out", &x.out, NULL},
                               {"--study", &study, NULL}};
    int              n = 0;
    struct errmsg    e = {0};
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n != 0 ||
        tenant == NULL || x.out == NULL) {
        return usage(help);
    }
    int rc = place_open(&p, false, false, &x.archive);
    if (rc != EXIT_DONE) {
        return rc;
    }
    struct db *db = db_pool_take(archive_db(x.archive), &e);
    enum err   err = db == NULL ? e.code : export_all(&x, db, tenant, study, &e);
    db_pool_give(archive_db(x.archive), db);
    archive_close(x.archive);
    if (err != ERR_OK) {
        (void)fail(&e, "export");
    }
    report(&x, p.json);
    return err == ERR_OK && x.failed == 0 ? EXIT_DONE : EXIT_FAILED;
}
