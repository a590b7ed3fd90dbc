/*
 * garonne transcode IN OUT --to SYNTAX [--lossy]: a DICOM file in another transfer syntax, the way
 * C-MOVE and WADO-RS give it.
 */
#include "pixel/transcode.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dicom/part10.h"
#include "dicom/tags.h"
#include "prog/cli.h"
#include "sys/file.h"

static const char help[] =
    "usage: garonne transcode IN OUT --to UID [--lossy]\n"
    "UID: 1.2.840.10008.1.2.1 explicit little endian, .1.2 implicit, .1.2.4.90 JPEG 2000,\n"
    "     .1.2.4.80 JPEG-LS, .1.2.4.70 JPEG lossless, .1.2.4.202 HTJ2K …\n";

struct in {
    int      fd;
    uint64_t at; // of the data set
};

static enum err read_in(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n, struct errmsg *e)
{
    const struct in *f = ctx;
    return file_read_at(f->fd, f->at + at, to, n, ret_n, e);
}

struct out {
    int      fd;
    uint64_t at;
};

static enum err write_out(void *ctx, struct bytes b, struct errmsg *e)
{
    struct out *o = ctx;
    enum err    rc = file_write_at(o->fd, o->at, b, e);
    o->at += b.len;
    return rc;
}

static enum err read_head(struct in *f, uint8_t front[LIMIT_META], struct part10_meta *ret,
                          struct errmsg *e)
{
    size_t   n = 0;
    enum err rc = file_read_at(f->fd, 0, front, LIMIT_META, &n, e);
    rc = rc == ERR_OK ? part10_parse((struct bytes){front, n}, ret, e) : rc;
    f->at = rc == ERR_OK ? ret->size : 0;
    return rc;
}

/* What the object is called now: a lossy one has a new name. */
static enum err name_of(const struct dsrc *src, struct str syntax_uid, struct arena *a,
                        struct str *ret, struct errmsg *e)
{
    struct parse_opts o = {.lenient = LENIENT_ALL, .stop_tag = DT_StudyDate};
    struct dset      *d = NULL;
    enum err          rc = dset_read(src, 0, syntax_find(syntax_uid), &o, a, &d, e);
    *ret = rc == ERR_OK ? dset_str(d, DT_SOPInstanceUID) : STR("");
    return rc;
}

/* The data set first, into a file without a name: its meta information depends on it. */
static enum err transcode(struct in *f, const char *to_path, struct str to_uid, bool lossy,
                          struct errmsg *e)
{
    static uint8_t                   front[LIMIT_META];
    static uint8_t                   piece[LIMIT_HTTP_BLOCK];
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     head;
    CLEANUP(file_close) int          fd = -1;
    struct pixel_pool               *pool = NULL;
    struct part10_meta               meta;
    struct out                       data = {.fd = -1};
    arena_init(&a, LIMIT_DSET);
    buf_init(&head, LIMIT_PART10_HEAD);
    enum err rc = read_head(f, front, &meta, e);
    rc = rc == ERR_OK ? file_open(P_tmpdir, O_TMPFILE | O_RDWR, 0600, &data.fd, e) : rc;
    rc = rc == ERR_OK ? pixel_pool_new(&(struct pixel_conf){0}, &pool, e) : rc;
    struct dsrc src = {.read = read_in, .ctx = f, .size = UINT64_MAX};
    struct stat st;
    src.size = fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size - f->at : UINT64_MAX;
    rc = rc == ERR_OK ? transcode_object(pool, &src, str_of(meta.syntax->uid), to_uid, lossy,
                                         write_out, &data, e)
                      : rc;
    pixel_pool_free(pool);
    struct in   made = {.fd = data.fd};
    struct dsrc made_src = {.read = read_in, .ctx = &made, .size = data.at};
    rc = rc == ERR_OK ? name_of(&made_src, to_uid, &a, &meta.sop_uid, e) : rc;
    meta.syntax_uid = to_uid;
    rc = rc == ERR_OK ? part10_write(&meta, &head, e) : rc;
    rc = rc == ERR_OK ? file_open(to_path, O_CREAT | O_TRUNC | O_WRONLY, 0644, &fd, e) : rc;
    rc = rc == ERR_OK ? file_write_at(fd, 0, (struct bytes){head.ptr, head.len}, e) : rc;
    size_t n = 1;
    for (uint64_t at = 0; rc == ERR_OK && n > 0; at += n) {
        rc = file_read_at(data.fd, at, piece, sizeof(piece), &n, e);
        rc = rc == ERR_OK ? file_write_at(fd, head.len + at, (struct bytes){piece, n}, e) : rc;
    }
    file_close(&data.fd);
    return rc;
}

int cmd_transcode(int argc, char **argv)
{
    const char      *to = NULL;
    bool             lossy = false;
    int              n = 0;
    struct errmsg    e = {0};
    struct in        f = {.fd = -1};
    const struct opt opts[] = {{"--to", &to, NULL}, {"--lossy", NULL, &lossy}};
    if (!opts_parse(argc, argv, opts, 2, &n) || n != 2 || to == NULL) {
        return usage(help);
    }
    enum err rc = file_open(argv[1], O_RDONLY, 0, &f.fd, &e);
    rc = rc == ERR_OK ? transcode(&f, argv[2], str_of(to), lossy, &e) : rc;
    file_close(&f.fd);
    return rc == ERR_OK ? EXIT_DONE : fail(&e, argv[1]);
}
