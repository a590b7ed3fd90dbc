#pragma once
/*
 * <root>/registry.json: tenants and their peers, so that the index can be rebuilt from the archive
 * folder alone.
 *
 *   {"garonne_registry":1,"tenants":[{"code":…,"name":…,"aet":…,"services":…,
 *     "peers":[{"aet":…,"host":…,"port":…,"cert":…,"tls":0,"charset":…}]}]}
 */
#include "base/arena.h"
#include "base/err.h"
#include "index/index.h"

struct registry_tenant {
    struct tenant tenant; // id 0
    struct peer  *peers;  // id and tenant_id 0
    size_t        n_peers;
};

struct registry {
    struct registry_tenant *tenants;
    size_t                  n;
};

void     registry_format(const struct registry *r, struct buf *out);
/* ERR_UNSUPPORTED: written by a later version; ERR_LIMIT: arena. */
enum err registry_parse(struct str json, struct arena *a, struct registry *ret, struct errmsg *e);

/* What the database says. */
enum err registry_read(struct db *db, struct arena *a, struct registry *ret, struct errmsg *e);
