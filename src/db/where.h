#pragma once
/*
 * Search conditions whose columns come from an enum of the caller and whose values are always
 * bound: the only way in which SQL text is put together at run time, and never from outside text.
 *
 * The result is run with db_query_where(), which numbers the parameters.  All conditions are ANDed.
 */
#include "base/buf.h"
#include "db/db.h"

struct where {
    struct buf sql;    // owned
    struct buf values; // owned: the bound values, in order
    unsigned   n;
};

void            where_init(struct where *w);
void            where_done(struct where *w); // also the cleanup function
/* column: a name from a static const table of the caller, never outside text. */
void            where_eq_str(struct where *w, const char *column, struct str v);
void            where_eq_int(struct where *w, const char *column, int64_t v);
void            where_in_str(struct where *w, const char *column, const struct str *v, size_t n);
void            where_range_str(struct where *w, const char *column, struct str from,
                                struct str to); // inclusive; empty: open
/* Case-sensitive comparison with DICOM wildcards (* and ?) on a normalised key column; a fixed
 * prefix is turned into a range so that both engines use the index. */
void            where_like(struct where *w, const char *column, struct str pattern);
/* head: "SELECT … FROM …" without WHERE; tail: "ORDER BY … LIMIT …" or "". Static texts. */
struct db_stmt *db_query_where(struct db *db, const char *head, const struct where *w,
                               const char *tail);
