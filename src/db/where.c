#include "db/where.h"

#include "base/cur.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "db/db_priv.h"

/*
 * Until the engine is known, the text holds a control character where it will differ:
 *   \1  a parameter
 *   \2  "IN (list)", the list bound as one JSON array (SQLite) or text array (PostgreSQL), so that
 *       the text does not depend on its length
 *   \3  "GLOB" or "LIKE" and its pattern
 * and the values are: kind byte, then 64-bit integer; or length, bytes; or count and texts.
 */
enum { MARK_PARAM = 1, MARK_LIST = 2, MARK_LIKE = 3 };

enum { VALUE_INT = 'i', VALUE_STR = 's', VALUE_LIST = 'l', VALUE_LIKE = 'k' };

void where_init(struct where *w)
{
    *w = (struct where){.fresh = true};
    buf_init(&w->sql, LIMIT_DB_TEXT);
    buf_init(&w->values, LIMIT_DB_TEXT);
}

void where_done(struct where *w)
{
    buf_done(&w->sql);
    buf_done(&w->values);
}

/* ---- building */

static void join(struct where *w)
{
    if (!w->fresh) {
        buf_str(&w->sql, w->any ? STR(" OR ") : STR(" AND "));
    }
    w->fresh = false;
}

static void add_value(struct where *w, struct str v)
{
    buf_u32le(&w->values, (uint32_t)v.len);
    buf_str(&w->values, v);
}

static void compare(struct where *w, const char *column, const char *op, struct str v)
{
    join(w);
    buf_fmt(&w->sql, "%s %s %c", column, op, MARK_PARAM);
    buf_u8(&w->values, VALUE_STR);
    add_value(w, v);
    w->n++;
}

void where_eq_str(struct where *w, const char *column, struct str v)
{
    compare(w, column, "=", v);
}

static void compare_int(struct where *w, const char *column, const char *op, int64_t v)
{
    join(w);
    buf_fmt(&w->sql, "%s %s %c", column, op, MARK_PARAM);
    buf_u8(&w->values, VALUE_INT);
    buf_u64le(&w->values, (uint64_t)v);
    w->n++;
}

void where_eq_int(struct where *w, const char *column, int64_t v)
{
    compare_int(w, column, "=", v);
}

void where_above_int(struct where *w, const char *column, int64_t v)
{
    compare_int(w, column, ">", v);
}

void where_in_str(struct where *w, const char *column, const struct str *v, size_t n)
{
    if (n == 1) {
        where_eq_str(w, column, v[0]);
        return;
    }
    join(w);
    buf_fmt(&w->sql, "%s %c", column, MARK_LIST);
    buf_u8(&w->values, VALUE_LIST);
    buf_u32le(&w->values, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        add_value(w, v[i]);
    }
    w->n++;
}

void where_range_str(struct where *w, const char *column, struct str from, struct str to)
{
    if (from.len > 0 && str_eq(from, to)) {
        compare(w, column, "=", from);
        return;
    }
    if (from.len > 0) {
        compare(w, column, ">=", from);
    }
    if (to.len > 0) {
        compare(w, column, "<=", to);
    }
}

/* The least text above every text with this prefix: its last character one up. Empty: there is
 * none.
 */
static void add_successor(struct buf *out, struct str prefix)
{
    size_t   last_at = 0;
    uint32_t last = 0;
    for (size_t at = 0; at < prefix.len;) {
        size_t   here = at;
        uint32_t c = utf8_next(prefix, &at);
        if (c < 0x10FFFF) {
            last = c;
            last_at = here;
        }
    }
    if (last != 0) {
        buf_str(out, (struct str){prefix.ptr, last_at});
        utf8_add(out, last == 0xD7FF ? 0xE000 : last + 1); // not into the surrogates
    }
}

static void where_prefix(struct where *w, const char *column, struct str prefix)
{
    CLEANUP(buf_done) struct buf up;
    buf_init(&up, prefix.len + 8);
    add_successor(&up, prefix);
    compare(w, column, ">=", prefix);
    if (up.len > 0) {
        compare(w, column, "<", (struct str){(const char *)up.ptr, up.len});
    }
}

void where_like(struct where *w, const char *column, struct str pattern)
{
    size_t fixed = 0;
    while (fixed < pattern.len && pattern.ptr[fixed] != '*' && pattern.ptr[fixed] != '?') {
        fixed++;
    }
    if (fixed == pattern.len) {
        where_eq_str(w, column, pattern);
        return;
    }
    bool any = w->any;
    if (any) { // the range and the pattern belong together
        join(w);
        buf_u8(&w->sql, '(');
        w->fresh = true;
        w->any = false;
    }
    if (fixed > 0) {
        where_prefix(w, column, (struct str){pattern.ptr, fixed});
    } else {
        join(w);
        buf_fmt(&w->sql, "%s >= ''", column); // read in the index: it is smaller than the rows
    }
    if (fixed + 1 < pattern.len || pattern.ptr[fixed] != '*') {
        join(w);
        buf_fmt(&w->sql, "%s %c", column, MARK_LIKE);
        buf_u8(&w->values, VALUE_LIKE);
        add_value(w, pattern);
        w->n++;
    }
    if (any) {
        buf_u8(&w->sql, ')');
        w->any = true;
    }
}

void where_text(struct where *w, const char *condition)
{
    join(w);
    buf_str(&w->sql, str_of(condition));
}

void where_begin(struct where *w, const char *text)
{
    join(w);
    buf_str(&w->sql, str_of(text));
    w->outer_any = w->any;
    w->any = false;
}

void where_end(struct where *w)
{
    buf_u8(&w->sql, ')');
    w->any = w->outer_any;
}

void where_any(struct where *w)
{
    join(w);
    buf_u8(&w->sql, '(');
    w->fresh = true;
    w->any = true;
}

void where_any_end(struct where *w)
{
    if (w->fresh) {
        buf_str(&w->sql, STR("1 = 0")); // none of nothing
    }
    buf_u8(&w->sql, ')');
    w->fresh = false;
    w->any = false;
}

void where_limit(struct where *w, int64_t limit, int64_t offset)
{
    w->limit = limit;
    w->offset = offset;
}

/* ---- running */

static struct str take_str(struct cur *c)
{
    struct bytes b = cur_bytes(c, cur_u32le(c));
    return (struct str){(const char *)b.ptr, b.len};
}

/* GLOB has brackets to disarm; LIKE has other wildcards and a backslash. */
static void pattern_text(struct buf *out, bool postgres, struct str pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        if (!postgres) {
            buf_str(out, c == '[' ? STR("[[]") : (struct str){&pattern.ptr[i], 1});
            continue;
        }
        if (c == '%' || c == '_' || c == '\\') {
            buf_u8(out, '\\');
        }
        buf_u8(out, (uint8_t)(c == '*' ? '%' : c == '?' ? '_' : c));
    }
}

/* {"a","b"} or ["a","b"]. */
static void list_text(struct buf *out, bool postgres, struct cur *c)
{
    uint32_t     n = cur_u32le(c);
    struct jsonw w;
    jsonw_init(&w, out);
    if (!postgres) {
        jsonw_arr(&w);
    } else {
        buf_u8(out, '{');
    }
    for (uint32_t i = 0; i < n; i++) {
        struct str v = take_str(c);
        if (!postgres) {
            jsonw_str(&w, v);
            continue;
        }
        buf_str(out, i > 0 ? STR(",\"") : STR("\""));
        for (size_t k = 0; k < v.len; k++) {
            if (v.ptr[k] == '"' || v.ptr[k] == '\\') {
                buf_u8(out, '\\');
            }
            buf_u8(out, (uint8_t)v.ptr[k]);
        }
        buf_u8(out, '"');
    }
    if (!postgres) {
        jsonw_arr_end(&w);
    } else {
        buf_u8(out, '}');
    }
}

static void bind_next(struct db_stmt *q, int i, struct cur *c, struct buf *scratch)
{
    bool postgres = is_db_postgres(q->db);
    buf_clear(scratch);
    switch (cur_u8(c)) {
    case VALUE_INT: db_bind_int(q, i, (int64_t)cur_u64le(c)); return;
    case VALUE_STR: db_bind_str(q, i, take_str(c)); return;
    case VALUE_LIST: list_text(scratch, postgres, c); break;
    default: pattern_text(scratch, postgres, take_str(c)); break;
    }
    struct bytes text = {0};
    enum err     rc = buf_end(scratch, &text);
    if (rc != ERR_OK) {
        (void)err_set(&q->err, rc, "list for the database is too long");
        return;
    }
    db_bind_str(q, i, (struct str){(const char *)text.ptr, text.len});
}

static void final_text(struct buf *out, bool postgres, const struct where *w, unsigned *ret_n)
{
    unsigned n = 0;
    for (size_t i = 0; i < w->sql.len; i++) {
        switch (w->sql.ptr[i]) {
        case MARK_PARAM: buf_fmt(out, "?%u", ++n); break;
        case MARK_LIST:
            buf_fmt(out, postgres ? "= ANY(?%u)" : "IN (SELECT value FROM json_each(?%u))", ++n);
            break;
        case MARK_LIKE: buf_fmt(out, postgres ? "LIKE ?%u" : "GLOB ?%u", ++n); break;
        default: buf_u8(out, w->sql.ptr[i]); break;
        }
    }
    *ret_n = n;
}

struct db_stmt *db_query_where(struct db *db, const char *head, const struct where *w,
                               const char *tail)
{
    CLEANUP(buf_done) struct buf sql;
    CLEANUP(buf_done) struct buf scratch;
    buf_init(&sql, LIMIT_DB_TEXT);
    buf_init(&scratch, LIMIT_DB_TEXT);
    unsigned n = 0;
    buf_str(&sql, str_of(head));
    if (w->sql.len > 0) {
        buf_str(&sql, STR(" WHERE "));
        final_text(&sql, is_db_postgres(db), w, &n);
    }
    buf_fmt(&sql, " %s", tail);
    if (w->limit > 0) {
        buf_fmt(&sql, " LIMIT ?%u OFFSET ?%u", n + 1, n + 2);
    }
    struct bytes text = {0};
    enum err     rc = buf_end(&sql, &text);
    rc = rc == ERR_OK ? w->sql.err : rc;
    rc = rc == ERR_OK ? w->values.err : rc;
    if (rc != ERR_OK) {
        struct db_stmt *bad = db_query_once(db, STR("SELECT 1"));
        (void)err_set(&bad->err, rc, "search condition too long");
        return bad;
    }
    struct db_stmt *q = db_query_text(db, (struct str){(const char *)text.ptr, text.len});
    struct cur      c = cur_of((struct bytes){w->values.ptr, w->values.len});
    for (unsigned i = 1; i <= n; i++) {
        bind_next(q, (int)i, &c, &scratch);
    }
    if (w->limit > 0) {
        db_bind_int(q, (int)n + 1, w->limit);
        db_bind_int(q, (int)n + 2, w->offset);
    }
    return q;
}
