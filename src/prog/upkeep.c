/* garonne verify and garonne reindex: the packs against their sums, the index from the packs. */
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "pack/digest.h"
#include "prog/cli.h"
#include "sys/file.h"

static void note(void *ctx, const char *path, const char *what)
{
    (void)ctx;
    (void)fprintf(stderr, "%s: %s\n", path, what);
}

/* ---- an exported tree: every SHA256SUMS in it */

struct tree {
    uint64_t files, bad;
};

static struct tree *tree; // nftw has no argument; one thread

static enum err sha256_file(const char *path, char ret[65], struct errmsg *e)
{
    static uint8_t                     buf[256 << 10]; // one thread
    CLEANUP(digest_done) struct digest h = {0};
    int                                fd = -1;
    enum err                           rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    rc = digest_init(&h, e);
    size_t n = 1;
    for (uint64_t at = 0; rc == ERR_OK && n > 0; at += n) {
        rc = file_read_at(fd, at, buf, sizeof(buf), &n, e);
        if (rc == ERR_OK) {
            digest_add(&h, (struct bytes){buf, n});
        }
    }
    file_close(&fd);
    return rc == ERR_OK ? digest_end(&h, ret, NULL, e) : rc;
}

static void check_line(const char *dir, int dir_len, const char *line)
{
    char          path[PATH_MAX], sha[65] = "";
    struct errmsg e = {0};
    if (strlen(line) < 67) {
        return;
    }
    (void)snprintf(path, sizeof(path), "%.*s/%s", dir_len, dir, line + 66);
    tree->files++;
    enum err rc = sha256_file(path, sha, &e);
    if (rc != ERR_OK || strncmp(sha, line, 64) != 0) {
        tree->bad++;
        note(NULL, path, rc != ERR_OK ? e.text : "content differs from its SHA-256");
    }
}

static int check_sums(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_MANIFEST);
    if (kind != FTW_F || strcmp(path + at->base, "SHA256SUMS") != 0) {
        return 0;
    }
    if (file_read_all(path, &b, NULL) != ERR_OK) {
        tree->bad++;
        note(NULL, path, "cannot be read");
        return 0;
    }
    buf_u8(&b, '\0');
    char *save = NULL;
    for (char *line = strtok_r((char *)b.ptr, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) { // allow-banned: the _r form
        check_line(path, at->base - 1, line);
    }
    return 0;
}

static int verify_export(const char *dir, bool json)
{
    struct tree t = {0};
    tree = &t;
    int walked = nftw(dir, check_sums, 64, FTW_PHYS); // NOLINT(concurrency-mt-unsafe): one thread
    tree = NULL;
    if (walked != 0 || t.files == 0) {
        (void)fprintf(stderr, "garonne: no SHA256SUMS under %s\n", dir);
        return EXIT_FAILED;
    }
    (void)printf(json ? "{\"files\":%llu,\"bad\":%llu}\n" : "%llu files, %llu bad\n",
                 (unsigned long long)t.files, (unsigned long long)t.bad);
    return t.bad == 0 ? EXIT_DONE : EXIT_FAILED;
}

int cmd_verify(int argc, char **argv)
{
    struct place        p = {0};
    const char         *export_dir = NULL;
    const struct opt    opts[] = {PLACE_OPTS(p), {"--export", &export_dir, NULL}};
    struct archive     *a = NULL;
    struct errmsg       e = {0};
    struct verify_stats s = {0};
    int                 n = 0;
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n != 0) {
        return usage("usage: garonne verify --data DIR [--json] | garonne verify --export DIR");
    }
    if (export_dir != NULL) {
        return verify_export(export_dir, p.json);
    }
    int rc = place_open(&p, false, false, &a);
    if (rc != EXIT_DONE) {
        return rc;
    }
    enum err err = archive_verify(a, note, NULL, &s, &e);
    archive_close(a);
    if (err != ERR_OK && s.bad == 0) {
        return fail(&e, "verify");
    }
    (void)printf(p.json ? "{\"packs\":%llu,\"images\":%llu,\"bytes\":%llu,\"bad\":%llu}\n"
                        : "%llu packs, %llu images, %llu bytes read, %llu bad\n",
                 (unsigned long long)s.packs, (unsigned long long)s.images,
                 (unsigned long long)s.bytes, (unsigned long long)s.bad);
    return s.bad == 0 ? EXIT_DONE : EXIT_FAILED;
}

int cmd_reindex(int argc, char **argv)
{
    struct place         p = {0};
    const struct opt     opts[] = {PLACE_OPTS(p)};
    struct archive      *a = NULL;
    struct errmsg        e = {0};
    struct reindex_stats s = {0};
    int                  n = 0;
    if (!opts_parse(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &n) || n != 0) {
        return usage("usage: garonne reindex --data DIR [--db URL] [--json]");
    }
    int rc = place_open(&p, false, false, &a);
    if (rc != EXIT_DONE) {
        return rc;
    }
    enum err err = archive_reindex(a, note, NULL, &s, &e);
    archive_close(a);
    if (err != ERR_OK) {
        return fail(&e, "reindex");
    }
    (void)printf(
        p.json
            ? "{\"packs\":%llu,\"images\":%llu,\"tenants\":%llu,\"peers\":%llu,\"failed\":%llu}\n"
            : "%llu packs, %llu images, %llu tenants, %llu peers; %llu packs failed\n",
        (unsigned long long)s.packs, (unsigned long long)s.images, (unsigned long long)s.tenants,
        (unsigned long long)s.peers, (unsigned long long)s.failed);
    return s.failed == 0 ? EXIT_DONE : EXIT_FAILED;
}
