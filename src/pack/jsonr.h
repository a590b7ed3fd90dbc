#pragma once
/*
 * Streaming JSON reader over bytes in memory, the counterpart of base/jsonw: no tree, one value at
 * a time, in the order of the text.  RFC 8259.  Sticky like struct cur: after the first failure
 * every loop ends and every read gives nothing; jsonr_end() tells.
 *
 *   jsonr_obj(&r);
 *   while (jsonr_key(&r, &k)) { if (str_eq(k, STR("size"))) n = jsonr_u64(&r); else jsonr_skip(&r);
 * }
 */
#include "base/arena.h"
#include "base/cur.h"

struct jsonr {
    struct cur    c;
    struct arena *arena; // not owned: texts with escapes are unescaped there, others are views
    bool          first; // of the innermost object or array, right after its bracket
};

void       jsonr_init(struct jsonr *r, struct bytes json, struct arena *a);
void       jsonr_obj(struct jsonr *r);
bool       jsonr_key(struct jsonr *r, struct str *ret); // false at the end of the object
void       jsonr_arr(struct jsonr *r);
bool       jsonr_item(struct jsonr *r); // before each value of an array; false at its end
struct str jsonr_str(struct jsonr *r);
uint64_t   jsonr_u64(struct jsonr *r); // whole numbers only
int64_t    jsonr_i64(struct jsonr *r);
void       jsonr_skip(struct jsonr *r);         // any value
enum err   jsonr_end(struct jsonr *r) MUST_USE; // only white space is left, and nothing has failed
