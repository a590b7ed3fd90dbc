#include <assert.h>
#include <stdint.h>

#include "pack/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    assert(ok);
}

/* Headers and records alone: what is written again must read the same. */
static void round_trip(struct bytes in)
{
    struct tar_member m, back;
    uint8_t           block[TAR_BLOCK];
    if (in.len >= TAR_BLOCK && tar_header_parse(in.ptr, &m, NULL) == ERR_OK) {
        tar_header_write(&m, block);
        must(tar_header_parse(block, &back, NULL) == ERR_OK);
        must(back.size == m.size && back.hash == m.hash && back.mtime == m.mtime);
    }
    struct str key, value;
    size_t     left = in.len;
    while (in.len > 0 && pax_record_next(&in, &key, &value, NULL) == ERR_OK) {
        must(in.len < left && key.len + value.len < left);
        left = in.len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {data, size};
    round_trip(in);
    for (int check = 0; check < 2; check++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 4 << 20);
        struct dsrc      src = dsrc_of_bytes(&in);
        struct pack_scan s;
        struct errmsg    e = {0};
        if (pack_scan_src(&src, check == 1, &a, &s, &e) != ERR_OK) {
            must(e.text[0] != '\0');
            continue;
        }
        uint64_t end = 0;
        for (size_t i = 0; i < s.n; i++) { // one after the other, inside the file
            must(s.images[i].at >= end + TAR_BLOCK);
            must(s.images[i].size <= size && s.images[i].at <= size - s.images[i].size);
            must(s.images[i].data_at >= s.images[i].at);
            must(s.images[i].sop_uid[0] != '\0');
            end = s.images[i].at + s.images[i].size;
        }
        must(s.good_end >= end && s.good_end % TAR_BLOCK == 0);
        must(s.sealed.bytes == 0 || s.sealed.bytes == size);
        must(s.sealed.manifest_at + s.sealed.manifest_len <= size);
    }
    return 0;
}
