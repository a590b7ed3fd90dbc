#include "dicom/dicomdir.h"

#include "base/limits.h"
#include "dicom/tags.h"

static bool is_component(struct str s)
{
    bool dots = str_eq(s, STR(".")) || str_eq(s, STR(".."));
    return s.len > 0 && !dots && memchr(s.ptr, '/', s.len) == NULL &&
           memchr(s.ptr, '\0', s.len) == NULL;
}

/* The components of Referenced File ID joined by '/'; false when one of them is no plain name. */
static bool join(const struct dset *record, struct buf *out)
{
    for (size_t i = 0;; i++) {
        struct str part = dset_str_at(record, DT_ReferencedFileID, i);
        if (part.len == 0) {
            return i > 0;
        }
        if (!is_component(part) || i >= 16) { // PS3.10 8.2 allows 8 components
            return false;
        }
        if (i > 0) {
            buf_u8(out, '/');
        }
        buf_str(out, part);
    }
}

enum err dicomdir_paths(const struct dset *d, struct arena *a, struct str **ret, size_t *ret_n,
                        size_t *ret_bad, struct errmsg *e)
{
    const struct elem *sq = dset_find(d, DT_DirectoryRecordSequence);
    if (sq == NULL || sq->vr != VR_SQ) {
        return err_set(e, ERR_SYNTAX, "no Directory Record Sequence: not a DICOMDIR");
    }
    struct str                  *paths = arena_array(a, sq->n_items + 1, struct str);
    size_t                       n = 0, bad = 0;
    CLEANUP(buf_done) struct buf path;
    buf_init(&path, LIMIT_PATH);
    for (size_t i = 0; paths != NULL && i < sq->n_items; i++) {
        const struct dset *record = sq->items[i];
        uint16_t           in_use = 0xFFFF;
        (void)dset_u16(record, DT_RecordInUseFlag, &in_use);
        if (!has_value(record, DT_ReferencedFileID) || in_use == 0) {
            continue;
        }
        buf_clear(&path);
        if (!join(record, &path) || path.err != ERR_OK) {
            bad++;
            continue;
        }
        paths[n] = arena_str(a, (struct str){(const char *)path.ptr, path.len});
        if (paths[n++].ptr == NULL) {
            paths = NULL;
        }
    }
    if (paths == NULL) {
        return err_set(e, ERR_LIMIT, "DICOMDIR with %zu records", sq->n_items);
    }
    *ret = paths;
    *ret_n = n;
    *ret_bad = bad;
    return ERR_OK;
}
