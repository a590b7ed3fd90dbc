#pragma once
/*
 * Streaming JSON writer onto a struct buf: no tree, commas and quoting done here.  RFC 8259.
 * Nesting up to 256 levels is the caller's to keep (asserted).  Errors are the buffer's, sticky.
 */
#include "base/buf.h"

struct jsonw {
    struct buf *out; // the caller's
    unsigned    depth;
    uint8_t     first[32]; // one bit a level: nothing written there yet
};

void jsonw_init(struct jsonw *w, struct buf *out);
void jsonw_obj(struct jsonw *w);
void jsonw_obj_end(struct jsonw *w);
void jsonw_arr(struct jsonw *w);
void jsonw_arr_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, struct str key); // inside an object, before each value
void jsonw_str(struct jsonw *w, struct str s);
void jsonw_i64(struct jsonw *w, int64_t v);
void jsonw_u64(struct jsonw *w, uint64_t v);
void jsonw_double(struct jsonw *w,
                  double        v); // shortest text that reads back the same; null if not finite
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_null(struct jsonw *w);
void jsonw_raw(struct jsonw *w, struct str json); // a value that is JSON already
