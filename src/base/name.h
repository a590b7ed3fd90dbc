#pragma once
/* The code of a tenant: key in the index, folder of its packs; one rule for all who take one in. */
#include "base/slice.h"

/* 1 to 32 of A-Z 0-9 _ -: safe as the name of a file, the same on every file system. */
static inline bool is_tenant_code(struct str s)
{
    bool ok = s.len >= 1 && s.len <= 32;
    for (size_t i = 0; ok && i < s.len; i++) {
        char c = s.ptr[i];
        ok = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    }
    return ok;
}
