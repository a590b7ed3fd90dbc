/* A DICOMDIR from a foreign disc: no reference may leave its folder. */
#include <assert.h>

#include "base/limits.h"
#include "dicom/dicomdir.h"
#include "dicom/part10.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_VALUE);
    struct bytes       in = {data, size};
    struct dsrc        src = dsrc_of_bytes(&in);
    struct parse_opts  opts = {.lenient = LENIENT_ALL};
    struct part10_meta meta;
    struct dset       *d;
    struct str        *paths;
    size_t             n, bad;
    if (part10_read(&src, &opts, &a, &meta, &d, NULL) != ERR_OK ||
        dicomdir_paths(d, &a, &paths, &n, &bad, NULL) != ERR_OK) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        assert(paths[i].len > 0 && paths[i].ptr[0] != '/' && !str_eq(paths[i], STR("..")));
        assert(paths[i].len < 3 || memcmp(paths[i].ptr, "../", 3) != 0);
        assert(memmem(paths[i].ptr, paths[i].len, "/../", 4) == NULL);
    }
    return 0;
}
