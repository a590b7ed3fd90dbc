#pragma once
/*
 * Inside of the index: which attributes it keeps, in which columns, and how a value becomes one.
 *
 * An attribute with a column of its own is in one of the three tables below, in the order of the
 * statements of filing.c and find.c.  The seldom ones share the column `more` as DICOM JSON.
 */
#include "base/buf.h"
#include "db/db.h"
#include "index/index.h"

extern const struct db_migration index_schema[]; // generated from schema/
extern const size_t              index_schema_n;

struct column {
    uint32_t tag;
    enum vr  vr;
};

enum { PATIENT_COLUMNS = 5, STUDY_COLUMNS = 6, SERIES_COLUMNS = 14 };

extern const struct column patient_columns[PATIENT_COLUMNS];
extern const struct column study_columns[STUDY_COLUMNS];
extern const struct column series_columns[SERIES_COLUMNS];

/* The seldom attributes of header at a level (a study keeps its patient's as well), as a JSON
 * object in b; nothing when there are none. */
enum err more_write(const struct dset *header, enum level level, struct buf *b, struct errmsg *e);

/* A value as its column keeps it, in the arena of d: dates YYYYMMDD, times without colons, UTF-8
 * without NUL.  ptr NULL: absent, too long or not what its VR says. */
struct str column_value(const struct dset *d, const struct column *c);

/* YYYYMMDD of microseconds since 1970, days added. */
enum { DATE_TEXT = 9 };

void date_text(int64_t us, int days, char ret[DATE_TEXT]);

/*
 * The keys of a text, in scratch.  first: what a search column holds; rest: of a name, the other
 * groups and values, joined by '='; both cut to LIMIT_INDEX_KEY.
 */
struct keys {
    struct str first, rest;
};
struct keys keys_of(struct buf *scratch, enum vr vr, struct str text);
/* A copy at a character's edge. */
struct str  str_cut(struct str s, size_t max);
/* NULL for an empty text. */
void        bind_text(struct db_stmt *q, int i, struct str v);

/* Copy of a column in the arena; fails sticky in *rc. */
struct str col_copy(struct db_stmt *q, int col, struct arena *a, enum err *rc);

/* Room for one more in a list of n in the arena; NULL when it is full. */
void *list_room(struct arena *a, void *list, size_t n, size_t size);
