/*
 * Texts of strangers in queries: a VR, a key and a value, separated by NUL.  Spans, folding and
 * wildcards stay within bounds, agree with a plainer way to say the same, and matching ends.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "dicom/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool plain_match(struct str p, struct str t)
{
    if (p.len == 0) {
        return t.len == 0;
    }
    if (p.ptr[0] == '*') {
        return plain_match((struct str){p.ptr + 1, p.len - 1}, t) ||
               (t.len > 0 && plain_match(p, (struct str){t.ptr + 1, t.len - 1}));
    }
    return t.len > 0 && (p.ptr[0] == '?' || p.ptr[0] == t.ptr[0]) &&
           plain_match((struct str){p.ptr + 1, p.len - 1}, (struct str){t.ptr + 1, t.len - 1});
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.ptr[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static void check_text(struct str key, struct str value)
{
    bool yes = is_wild_match(key, value);
    if (key.len <= 8 && value.len <= 12 && is_ascii(key) && is_ascii(value)) {
        assert(yes == plain_match(key, value));
    }
    struct buf once, twice;
    buf_init(&once, 1 << 20);
    buf_init(&twice, 1 << 20);
    text_key(&once, VR_PN, value);
    struct str s = {0};
    bool       text = utf8_check((struct bytes){once.ptr, once.len}, &s);
    assert(text);
    text_key(&twice, VR_PN, s);
    assert(str_eq(s, (struct str){(const char *)twice.ptr, twice.len}));
    buf_done(&once);
    buf_done(&twice);
}

static void check_span(enum vr vr, struct str s)
{
    struct span span = {0};
    int16_t     zone = 0;
    if (span_parse(vr, s, 60, &span)) {
        assert(span.range || span.lo <= span.hi);
    }
    if (zone_parse(s, &zone)) {
        assert(zone >= -12 * 60 - 59 && zone <= 14 * 60 + 59);
    }
}

static void check_match(enum vr vr, struct bytes key, struct bytes value)
{
    static const uint32_t tags[] = {0x00080020, 0x00080030, 0x00100010, 0x00091001};

    struct arena a;
    arena_init(&a, 16 << 20);
    struct dset *query = dset_new(&a), *candidate = dset_new(&a);
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (dset_put(query, tags[i], vr, key) != ERR_OK ||
            dset_put(candidate, tags[i], vr, value) != ERR_OK) {
            arena_done(&a);
            return;
        }
    }
    for (unsigned bits = 0; bits < 16; bits++) {
        struct match_opts o = {.combined = (bits & 1) != 0,
                               .all = (bits & 2) != 0,
                               .fold = (bits & 4) != 0,
                               .words = (bits & 8) != 0};
        bool              whole = is_match(query, candidate, &o), each = true;
        for (size_t i = 0; i < query->n; i++) {
            bool one = is_match_elem(query, &query->elems[i], candidate, &o);
            assert(one || !is_universal(query, &query->elems[i]));
            each = each && one;
        }
        assert(whole == each);
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] == VR_SQ || data[0] >= VR__COUNT) {
        return 0;
    }
    enum vr        vr = (enum vr)data[0];
    const uint8_t *cut = memchr(data + 1, '\0', size - 1);
    size_t         n = cut == NULL ? size - 1 : (size_t)(cut - data) - 1;
    struct bytes   key = {data + 1, n};
    struct bytes   value = {data + 1 + n, size - 1 - n};
    struct str     key_text = {0}, value_text = {0};
    if (value.len > 0) { // the NUL
        value = (struct bytes){value.ptr + 1, value.len - 1};
    }
    if (utf8_check(key, &key_text) && utf8_check(value, &value_text)) {
        check_text(key_text, value_text);
        check_span(VR_DA, key_text);
        check_span(VR_TM, key_text);
        check_span(VR_DT, key_text);
    }
    check_match(vr, key, value);
    return 0;
}
