#include <assert.h>

#include "base/utf8.h"
#include "http/accept.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touch(struct str s)
{
    unsigned sum = 0;
    for (size_t i = 0; i < s.len; i++) {
        sum += (unsigned char)s.ptr[i];
    }
    return sum;
}

static unsigned look_at(const struct media_type *m)
{
    unsigned sum = touch(m->full) + touch(m->type) + touch(m->subtype);
    assert(m->type.len > 0 && m->subtype.len > 0 && m->params <= MEDIA_PARAMS);
    assert(m->full.len == m->type.len + 1 + m->subtype.len);
    for (size_t i = 0; i < m->params; i++) {
        assert(m->param[i].name.len > 0 && m->param[i].value.ptr != NULL);
        sum += touch(m->param[i].name) + touch(m->param[i].value);
    }
    return sum;
}

static void choose(const struct accept *l)
{
    static const struct accept_offer offers[] = {
        {"application/octet-stream", "1.2.840.10008.1.2.1", true, true},
        {"image/jphc", "1.2.840.10008.1.2.4.202", false, true},
        {"application/dicom+json", NULL, false, false},
    };

    size_t   at = 3;
    enum err rc = accept_choose(l, NULL, offers, 3, &at);
    assert(rc == ERR_NOTFOUND || at < 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct str        s;
    struct accept     l = {0};
    struct media_type m;
    if (!utf8_check((struct bytes){data, size}, &s)) {
        return 0;
    }
    if (media_parse(s, &a, &m, NULL) == ERR_OK) {
        (void)look_at(&m);
    }
    if (accept_parse(s, &a, &l, NULL) == ERR_OK) {
        choose(&l);
    }
    for (size_t i = 0; i < l.n; i++) {
        assert(l.range[i].q <= ACCEPT_Q_MAX && l.n <= ACCEPT_RANGES);
        (void)look_at(&l.range[i].media);
    }
    return 0;
}
