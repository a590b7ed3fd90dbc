#include <fcntl.h>

#include "archive/archive_priv.h"
#include "pack/digest.h"
#include "sys/file.h"

enum err sealed_row(const char *path, struct arena *mem, struct pack_row *row, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    struct pack_scan        scan = {0};
    enum err                rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc == ERR_OK) {
        rc = pack_scan_fd(fd, false, mem, &scan, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (scan.sealed.bytes == 0) {
        return err_set(e, ERR_SYNTAX, "%.200s is not whole", path);
    }
    row->state = PACK_SEALED;
    row->bytes = scan.sealed.bytes;
    row->images = (uint32_t)scan.n;
    row->manifest_at = scan.sealed.manifest_at;
    row->manifest_len = scan.sealed.manifest_len;
    row->metadata_at = scan.sealed.metadata_at;
    row->metadata_len = scan.sealed.metadata_len;
    return ERR_OK;
}

enum err file_sha256(const char *path, struct arena *mem, struct str *ret, struct errmsg *e)
{
    enum { CHUNK = 256 << 10 };

    CLEANUP(file_close) int            fd = -1;
    CLEANUP(digest_done) struct digest d = {0};
    CLEANUP(buf_done) struct buf       window;
    buf_init(&window, CHUNK);
    uint8_t *to = buf_grow(&window, CHUNK);
    enum err rc = to != NULL ? file_open(path, O_RDONLY, 0, &fd, e)
                             : err_set(e, ERR_NOMEM, "no memory to read %.180s", path);
    if (rc == ERR_OK) {
        rc = digest_init(&d, e);
    }
    size_t got = CHUNK;
    for (uint64_t at = 0; rc == ERR_OK && got == CHUNK; at += got) {
        rc = file_read_at(fd, at, to, CHUNK, &got, e);
        if (rc == ERR_OK) {
            digest_add(&d, (struct bytes){to, got});
        }
    }
    char hex[65];
    if (rc == ERR_OK) {
        rc = digest_end(&d, hex, NULL, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    *ret = arena_str(mem, str_of(hex));
    return ret->ptr != NULL ? ERR_OK : err_set(e, ERR_LIMIT, "no memory for a digest");
}
