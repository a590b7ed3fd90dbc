#include "prog/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

struct zip {
    struct archive *a; // libarchive's
};

static enum err failed(struct zip *z, struct errmsg *e)
{
    const char *why = archive_error_string(z->a);
    return err_set(e, ERR_SYNTAX, "%s", why != NULL ? why : "unreadable");
}

enum err zip_open(const char *path, struct zip **ret, struct errmsg *e)
{
    struct zip *z = calloc(1, sizeof(*z));
    if (z == NULL || (z->a = archive_read_new()) == NULL) {
        free(z);
        return err_set(e, ERR_NOMEM, "zip");
    }
    (void)archive_read_support_format_zip(z->a);
    (void)archive_read_support_format_tar(z->a);
    (void)archive_read_support_filter_gzip(z->a);
    if (archive_read_open_filename(z->a, path, 256 << 10) != ARCHIVE_OK) {
        enum err rc = failed(z, e);
        zip_close(z);
        return rc;
    }
    *ret = z;
    return ERR_OK;
}

enum err zip_next(struct zip *z, struct str *ret_name, struct errmsg *e)
{
    struct archive_entry *x;
    for (;;) {
        int rc = archive_read_next_header(z->a, &x);
        if (rc == ARCHIVE_EOF) {
            return ERR_NOTFOUND;
        }
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            return failed(z, e);
        }
        if (archive_entry_filetype(x) == AE_IFREG) {
            const char *name = archive_entry_pathname(x);
            *ret_name = str_of(name != NULL ? name : "?");
            return ERR_OK;
        }
    }
}

enum err zip_read(struct zip *z, void *to, size_t n, size_t *ret_n, struct errmsg *e)
{
    la_ssize_t got = archive_read_data(z->a, to, n);
    if (got < 0) {
        return failed(z, e);
    }
    *ret_n = (size_t)got;
    return ERR_OK;
}

void zip_close(struct zip *z)
{
    if (z != NULL) {
        (void)archive_read_free(z->a);
        free(z);
    }
}
