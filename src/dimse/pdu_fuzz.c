/* Cut PDUs off the input and walk their values: every byte of every view is touched. */
#include <stdlib.h>

#include "base/limits.h"
#include "dimse/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): its expansion is a branch, and these functions are nothing else. */
static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static uint8_t touch(struct bytes b)
{
    uint8_t x = 0;
    for (size_t i = 0; i < b.len; i++) {
        x ^= b.ptr[i];
    }
    return x;
}

static void short_bodies(struct bytes body)
{
    struct assoc_rj    rj = {0};
    struct assoc_abort ab = {0};
    if (pdu_reject_parse(body, &rj, NULL) == ERR_OK) {
        must(reject_text(rj) != NULL);
    }
    if (pdu_abort_parse(body, &ab, NULL) == ERR_OK) {
        must(abort_text(ab) != NULL);
    }
    (void)pdu_release_parse(body, NULL);
}

static uint8_t walk(struct bytes whole)
{
    struct cur body = cur_of(whole);
    size_t     total = 0;
    uint8_t    x = 0;
    while (cur_left(&body) > 0) {
        struct pdv v;
        size_t     left = cur_left(&body);
        if (pdv_next(&body, &v, NULL) != ERR_OK) {
            must(cur_left(&body) == 0);
            return x;
        }
        must(cur_left(&body) < left && (v.context & 1) == 1);
        x ^= touch(v.data);
        total += v.data.len + PDV_HEAD;
    }
    must(total == whole.len);
    return x;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes     in = {data, size};
    struct pdu       p;
    size_t           n = 0;
    volatile uint8_t sink = 0;
    while (pdu_cut(in, LIMIT_PDU_MAX, &p, &n, NULL) == ERR_OK) {
        must(n >= PDU_HEAD && n <= in.len && p.body.len == n - PDU_HEAD);
        sink = sink ^ touch(p.body) ^ walk(p.body);
        short_bodies(p.body);
        in = (struct bytes){in.ptr + n, in.len - n};
    }
    return 0;
}
