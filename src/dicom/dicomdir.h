#pragma once
/*
 * The file references of a DICOMDIR, PS3.3 annex F and PS3.10 section 8.  Pure.
 */
#include "dicom/dset.h"

/*
 * Referenced File IDs of all records in use, as relative paths with '/' in the arena.  References
 * that would leave the folder of the DICOMDIR (empty, ".", "..", with a '/' or NUL inside a
 * component) are counted in *ret_bad and left out.
 */
enum err dicomdir_paths(const struct dset *d, struct arena *a, struct str **ret, size_t *ret_n,
                        size_t *ret_bad, struct errmsg *e) MUST_USE;
