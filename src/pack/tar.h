#pragma once
/*
 * POSIX ustar blocks as packs use them (IEEE 1003.1 pax interchange format).  Pure.
 *
 * A member is a 512-byte header, its content, zeros up to the next 512.  The hash of the content
 * (XXH3-64) is kept in the header's group name ("x" + 16 hex digits): a scan after a power cut can
 * tell an image that was acknowledged from one whose blocks reached the disk only in part, and no
 * reader of tar minds. Sizes over 8 GiB use the base-256 form that GNU tar, bsdtar and star read.
 */
#include "base/buf.h"

enum { TAR_BLOCK = 512, TAR_NAME = 100 };

struct tar_member {
    char     name[TAR_NAME + 1];
    char     type; // '0' file, 'x' pax header
    uint64_t size;
    int64_t  mtime; // seconds
    uint64_t hash;  // XXH3-64 of the content; 0 when not recorded
};

void     tar_header_write(const struct tar_member *m, uint8_t ret[TAR_BLOCK]);
/* ERR_NOTFOUND: a block of zeros (end of archive); ERR_SYNTAX: no header, or a wrong checksum. */
enum err tar_header_parse(const uint8_t block[TAR_BLOCK], struct tar_member *ret,
                          struct errmsg *e) MUST_USE;
uint64_t tar_padded(uint64_t size); // up to the next block
bool     is_tar_zero(struct bytes b);
bool     is_tar_magic(const uint8_t block[TAR_BLOCK]); // cheap test before a parse
/* pax record "LEN key=value\n" and back. */
void     pax_record_write(struct buf *out, struct str key, struct str value);
enum err pax_record_next(struct bytes *in, struct str *ret_key, struct str *ret_value,
                         struct errmsg *e) MUST_USE;
