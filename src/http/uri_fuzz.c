#include <assert.h>

#include "http/range.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touch(struct str s)
{
    unsigned sum = 0;
    for (size_t i = 0; i < s.len; i++) {
        assert(s.ptr[i] != '\0');
        sum += (unsigned char)s.ptr[i];
    }
    return sum;
}

static unsigned look_at(const struct uri *u)
{
    unsigned sum = 0;
    assert(u->segments <= URI_SEGMENTS && u->queries <= URI_QUERIES);
    for (size_t i = 0; i < u->segments; i++) {
        assert(!str_eq(u->segment[i], STR("..")));
        sum += touch(u->segment[i]);
    }
    for (size_t i = 0; i < u->queries; i++) {
        assert(u->query[i].name.len > 0);
        sum += touch(u->query[i].name) + touch(u->query[i].value);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct uri   u;
    struct range r;
    uint64_t     total = 1000;
    if (uri_parse((struct bytes){data, size}, &a, &u, NULL) == ERR_OK) {
        total += look_at(&u);
    }
    if (range_parse((struct str){(const char *)data, size}, total, &r) == ERR_OK) {
        assert(r.len > 0 && r.first < total && r.len <= total - r.first);
    }
    return 0;
}
