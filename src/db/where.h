#pragma once
/*
 * Search conditions whose columns come from an enum of the caller and whose values are always
 * bound: the only way in which SQL text is put together at run time, and never from outside text.
 *
 * The result is run with db_query_where(), which numbers the parameters.  All conditions are ANDed,
 * except inside where_any().  column, head, tail and the texts of where_begin and where_text are
 * static texts of the caller.
 */
#include "base/buf.h"
#include "db/db.h"

struct where {
    struct buf sql;    // owned; a parameter is a control character, see where.c
    struct buf values; // owned: the bound values, in order
    unsigned   n;
    bool       fresh;     // no condition yet at this place
    bool       any;       // inside where_any
    bool       outer_any; // around where_begin
    int64_t    limit, offset;
};

void            where_init(struct where *w);
void            where_done(struct where *w); // also the cleanup function
/* column: a name from a static const table of the caller, never outside text. */
void            where_eq_str(struct where *w, const char *column, struct str v);
void            where_eq_int(struct where *w, const char *column, int64_t v);
void            where_above_int(struct where *w, const char *column, int64_t v); // greater than
/* One bound parameter however long the list is. n = 0 matches nothing. */
void            where_in_str(struct where *w, const char *column, const struct str *v, size_t n);
void            where_range_str(struct where *w, const char *column, struct str from,
                                struct str to); // inclusive; empty: open
/* Case-sensitive comparison with DICOM wildcards (* and ?) on a normalised key column; a fixed
 * prefix is turned into a range so that both engines use the index. */
void            where_like(struct where *w, const char *column, struct str pattern);
void            where_text(struct where *w, const char *condition);
/* "(" text … ")": conditions up to where_end are ANDed to text: where_begin(w, "EXISTS (SELECT 1
 * FROM series WHERE series.study_id = study.id").  Also inside where_any; not nested. */
void            where_begin(struct where *w, const char *text);
void            where_end(struct where *w);
/* Conditions up to where_any_end are ORed. Not nested. */
void            where_any(struct where *w);
void            where_any_end(struct where *w);
void            where_limit(struct where *w, int64_t limit, int64_t offset); // limit 0: none
/* head: "SELECT … FROM …" without WHERE; tail: "ORDER BY …" or "". Static texts. */
struct db_stmt *db_query_where(struct db *db, const char *head, const struct where *w,
                               const char *tail);
