#include "dimse/scu_plan.h"

#include "dicom/convert.h"

static const struct str uncompressed[] = {{"1.2.840.10008.1.2.1", 19}, {"1.2.840.10008.1.2", 17}};

/* Most met first: where there is no room for all, the rare ones are left out. */
#define S "1.2.840.10008.5.1.4.1.1."
static const char *const storage[] = {
    S "2",      S "4",      S "1.1",    S "1",        S "1.2",      S "7",        S "6.1",
    S "3.1",    S "20",     S "128",    S "12.1",     S "12.2",     S "2.1",      S "4.1",
    S "1.1.1",  S "1.2.1",  S "1.3",    S "1.3.1",    S "13.1.3",   S "88.11",    S "88.22",
    S "88.33",  S "88.67",  S "88.59",  S "104.1",    S "11.1",     S "11.2",     S "481.1",
    S "481.2",  S "481.3",  S "481.5",  S "66",       S "66.1",     S "66.4",     S "66.5",
    S "130",    S "77.1.1", S "77.1.2", S "77.1.4",   S "77.1.6",   S "7.1",      S "7.2",
    S "7.3",    S "7.4",    S "6.2",    S "3",        S "6",        S "5",        S "128.1",
    S "12.1.1", S "12.2.1", S "13.1.1", S "13.1.2",   S "2.2",      S "4.2",      S "4.3",
    S "4.4",    S "88.34",  S "88.35",  S "88.40",    S "88.50",    S "88.65",    S "88.68",
    S "88.69",  S "104.2",  S "104.3",  S "11.3",     S "11.4",     S "11.5",     S "9.1.1",
    S "9.1.2",  S "9.1.3",  S "9.2.1",  S "9.3.1",    S "9.4.1",    S "9.5.1",    S "9.6.1",
    S "67",     S "68.1",   S "68.2",   S "66.2",     S "66.3",     S "66.6",     S "77.1.1.1",
    S "481.4",  S "481.6",  S "481.7",  S "481.8",    S "481.9",    S "78.1",     S "78.2",
    S "78.3",   S "79.1",   S "80.1",   S "77.1.5.1", S "77.1.5.2", S "77.1.5.4", S "30",
    S "14.1",   S "14.2",   S "12.77",  S "104.4",    S "104.5",
};
#undef S

void plan_init(struct scu_plan *p, struct arena *a)
{
    p->arena = a;
    p->n = 0;
}

static bool has_ctx(const struct scu_plan *p, struct str class_uid, const struct str *syntaxes,
                    size_t n)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct assoc_ctx *x = &p->ctx[i];
        bool                    same = str_eq(x->abstract, class_uid) && x->n_syntaxes == n;
        for (size_t k = 0; same && k < n; k++) {
            same = str_eq(x->syntaxes[k], syntaxes[k]);
        }
        if (same) {
            return true;
        }
    }
    return false;
}

static enum err add(struct scu_plan *p, struct str class_uid, const struct str *syntaxes, size_t n,
                    struct errmsg *e)
{
    if (has_ctx(p, class_uid, syntaxes, n)) {
        return ERR_OK;
    }
    if (p->n == PLAN_CTX) {
        return err_set(e, ERR_LIMIT, "over %d presentation contexts", PLAN_CTX);
    }
    struct assoc_ctx x = {.abstract = arena_str(p->arena, class_uid), .n_syntaxes = n};
    x.syntaxes = arena_array(p->arena, n, struct str);
    bool full = x.abstract.ptr == NULL || x.syntaxes == NULL;
    for (size_t i = 0; !full && i < n; i++) {
        x.syntaxes[i] = arena_str(p->arena, syntaxes[i]);
        full = x.syntaxes[i].ptr == NULL;
    }
    if (full) {
        return err_set(e, ERR_NOMEM, "presentation contexts");
    }
    p->ctx[p->n++] = x;
    return ERR_OK;
}

enum err plan_add_service(struct scu_plan *p, struct str class_uid, struct errmsg *e)
{
    return add(p, class_uid, uncompressed, 2, e);
}

enum err plan_add_object(struct scu_plan *p, struct str class_uid, struct str syntax_uid,
                         struct errmsg *e)
{
    const struct syntax *s = syntax_find(syntax_uid);
    const size_t         before = p->n;
    bool                 convertible = s != NULL && is_convertible(s, &SYNTAX_EXPLICIT);
    enum err             rc = add(p, class_uid, &syntax_uid, 1, e);
    if (rc == ERR_OK && convertible) {
        rc = add(p, class_uid, uncompressed, 2, e);
    }
    if (rc != ERR_OK) {
        p->n = before;
    }
    return rc;
}

enum err plan_add_turns(struct scu_plan *p, struct str class_uid, const struct str *syntaxes,
                        size_t n, struct errmsg *e)
{
    return add(p, class_uid, syntaxes, n, e);
}

enum err plan_add_incoming(struct scu_plan *p, struct str class_uid, const struct str *syntaxes,
                           size_t n, struct errmsg *e)
{
    const size_t before = p->n;
    enum err     rc = add(p, class_uid, syntaxes, n, e);
    if (p->n > before) {
        p->ctx[before].has_role = p->ctx[before].scp_role = true;
    }
    return rc;
}

enum err plan_add_all_incoming(struct scu_plan *p, const struct str *syntaxes, size_t n,
                               struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < sizeof(storage) / sizeof(storage[0]); i++) {
        if (p->n == PLAN_CTX) {
            return ERR_OK;
        }
        rc = plan_add_incoming(p, str_of(storage[i]), syntaxes, n, e);
    }
    return rc;
}

const struct assoc_ctx *scu_ctx_for(const struct assoc *a, struct str class_uid,
                                    struct str syntax_uid)
{
    static const struct syntax *const targets[] = {&SYNTAX_EXPLICIT, &SYNTAX_IMPLICIT, &SYNTAX_BIG,
                                                   &SYNTAX_DEFLATED};

    const struct assoc_ctx *c = assoc_ctx_for(a, class_uid, syntax_uid);
    const struct syntax    *from = syntax_find(syntax_uid);
    for (size_t i = 0; c == NULL && from != NULL && i < sizeof(targets) / sizeof(targets[0]); i++) {
        if (is_convertible(from, targets[i])) {
            c = assoc_ctx_for(a, class_uid, str_of(targets[i]->uid));
        }
    }
    return c;
}
