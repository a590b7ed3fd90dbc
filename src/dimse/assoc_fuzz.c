/* A-ASSOCIATE bodies; the first byte picks request or answer.  What is written parses to the same.
 */
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

enum { ARENA = 4 << 20 };

static void same_contexts(const struct assoc_pdu *a, const struct assoc_pdu *b)
{
    must(a->n_ctx == b->n_ctx);
    for (size_t i = 0; i < a->n_ctx; i++) {
        const struct assoc_ctx *x = &a->ctx[i], *y = &b->ctx[i];
        must(x->id == y->id && x->result == y->result && str_eq(x->abstract, y->abstract));
        must(x->has_role == y->has_role && x->scu_role == y->scu_role);
        must(x->scp_role == y->scp_role && x->n_syntaxes == y->n_syntaxes);
        for (size_t k = 0; k < x->n_syntaxes; k++) {
            must(str_eq(x->syntaxes[k], y->syntaxes[k]));
        }
    }
}

static void same(const struct assoc_pdu *a, const struct assoc_pdu *b)
{
    must(a->version == b->version && a->max_pdu == b->max_pdu);
    must(str_eq(a->called, b->called) && str_eq(a->calling, b->calling));
    must(str_eq(a->application, b->application));
    must(str_eq(a->impl_uid, b->impl_uid) && str_eq(a->impl_version, b->impl_version));
    must(a->has_window == b->has_window && a->invoked == b->invoked);
    must(a->performed == b->performed && a->n_role == b->n_role && a->n_ext == b->n_ext);
    for (size_t i = 0; i < a->n_role; i++) {
        must(str_eq(a->role[i].class_uid, b->role[i].class_uid));
        must(a->role[i].scu == b->role[i].scu && a->role[i].scp == b->role[i].scp);
    }
    for (size_t i = 0; i < a->n_ext; i++) {
        must(str_eq(a->ext[i].class_uid, b->ext[i].class_uid));
        must(str_eq(a->ext[i].service_uid, b->ext[i].service_uid));
        must(a->ext[i].common == b->ext[i].common && bytes_eq(a->ext[i].info, b->ext[i].info));
    }
    must(a->user.type == b->user.type && a->user.response_wanted == b->user.response_wanted);
    must(bytes_eq(a->user.primary, b->user.primary));
    must(bytes_eq(a->user.secondary, b->user.secondary));
    must(bytes_eq(a->user_response, b->user_response));
    same_contexts(a, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t                          type = (data[0] & 1) != 0 ? PDU_ASSOC_RQ : PDU_ASSOC_AC;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, ARENA);
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_PDU_ASSOC);
    struct assoc_pdu p, q;
    if (assoc_pdu_parse(type, (struct bytes){data + 1, size - 1}, &mem, &p, NULL) != ERR_OK) {
        return 0;
    }
    assoc_pdu_write(type, &p, &out);
    struct bytes whole;
    struct pdu   cut;
    size_t       n = 0;
    if (buf_end(&out, &whole) != ERR_OK) {
        return 0; // identical roles of many contexts may pass 64 KiB
    }
    must(pdu_cut(whole, LIMIT_PDU_ASSOC, &cut, &n, NULL) == ERR_OK);
    must(n == whole.len && cut.type == type);
    must(assoc_pdu_parse(type, cut.body, &mem, &q, NULL) == ERR_OK);
    same(&p, &q);
    return 0;
}
