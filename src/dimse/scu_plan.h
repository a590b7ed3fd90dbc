#pragma once
/*
 * Which presentation contexts a client proposes, and which one an object then goes out on.  Pure.
 * A plan has room for the 128 contexts of an association; strings are copied to its arena.
 */
#include "base/arena.h"
#include "base/err.h"
#include "dimse/assoc.h"

enum { PLAN_CTX = 128 };

struct scu_plan {
    struct arena    *arena; // not owned
    struct assoc_ctx ctx[PLAN_CTX];
    size_t           n;
};

void     plan_init(struct scu_plan *p, struct arena *a);
/* A service (verification, query, retrieval) in explicit and implicit little endian. */
enum err plan_add_service(struct scu_plan *p, struct str class_uid, struct errmsg *e);
/* To send objects of a class stored in a syntax: a context for that syntax alone, so that it is not
 * passed over, and one for conversions.  Nothing is added twice.  ERR_LIMIT: no room, nothing was
 * added; these objects need another association. */
enum err plan_add_object(struct scu_plan *p, struct str class_uid, struct str syntax_uid,
                         struct errmsg *e);
/* A context more for objects of a class, turned into one of these syntaxes by the caller. */
enum err plan_add_turns(struct scu_plan *p, struct str class_uid, const struct str *syntaxes,
                        size_t n, struct errmsg *e);
/* To receive objects of a class by C-GET, with the SCP role. */
enum err plan_add_incoming(struct scu_plan *p, struct str class_uid, const struct str *syntaxes,
                           size_t n, struct errmsg *e);
/* The same for the storage classes most met in practice, as many as there is room for. */
enum err plan_add_all_incoming(struct scu_plan *p, const struct str *syntaxes, size_t n,
                               struct errmsg *e);

/*
 * The accepted context for an object: in its own syntax, else one that it can be converted to
 * without touching pixels.  NULL: none.
 */
const struct assoc_ctx *scu_ctx_for(const struct assoc *a, struct str class_uid,
                                    struct str syntax_uid);
