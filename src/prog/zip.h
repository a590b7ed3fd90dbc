#pragma once
/*
 * Reading ZIP (and tar) files by libarchive, streaming; wrapped here once, since its names collide
 * with ours.
 */
#include "base/err.h"
#include "base/slice.h"

struct zip;

enum err zip_open(const char *path, struct zip **ret, struct errmsg *e);
/* The next file inside; ERR_NOTFOUND at the end.  *ret_name is valid until the next call. */
enum err zip_next(struct zip *z, struct str *ret_name, struct errmsg *e);
/* Its content, piece by piece; an empty piece at its end. */
enum err zip_read(struct zip *z, void *to, size_t n, size_t *ret_n, struct errmsg *e);
void     zip_close(struct zip *z);
