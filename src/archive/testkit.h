#pragma once
/*
 * For the tests of this module: an archive in a folder of its own with two tenants, and objects
 * whose bytes follow from a few numbers.  Data sets are built by hand, explicit little endian.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "archive/archive.h"
#include "sys/file.h"

#define KIT_CT     "1.2.840.10008.5.1.4.1.1.2"
#define KIT_SYNTAX "1.2.840.10008.1.2.1"

struct kit {
    char                data[64];
    struct archive_conf conf;
    struct archive     *a;
    struct ingest_from  from[2]; // two tenants
    _Atomic unsigned    notes;
};

struct kit_object { // what an object is made of
    unsigned    study, series, image;
    unsigned    salt; // other pixels under the same UID
    size_t      pixels;
    size_t      ballast; // bytes of a private value in front of the UIDs
    const char *cls;     // NULL: CT
    const char *patient;
};

static inline void kit_remove(const char *path)
{
    char cmd[512];
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
    assert_int_equal(system(cmd), 0); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
}

static inline void kit_note(void *ctx, const char *path, const char *what)
{
    struct kit *k = ctx;
    k->notes++;
    if (getenv("KIT_NOTES") != NULL) { // NOLINT(concurrency-mt-unsafe)
        (void)fprintf(stderr, "note: %s: %s\n", path, what);
    }
}

static _Thread_local struct errmsg kit_e; // of the call that kit_ok looks at

static inline void kit_good(enum err rc, const char *call, const char *file, int line)
{
    if (rc != ERR_OK) {
        print_error("%s: %s (%s)\n", call, kit_e.text, err_name(rc));
        _fail(file, line);
    }
    kit_e = (struct errmsg){0};
}

#define kit_ok(call) kit_good((call), #call, __FILE__, __LINE__) // call says &kit_e

static inline void kit_open(struct kit *k)
{
    kit_ok(archive_open(&k->conf, &k->a, &kit_e));
}

static inline void kit_tenant(struct kit *k, size_t i, const char *code)
{
    struct tenant t = {
        .code = str_of(code), .name = str_of(code), .aet = str_of(code), .services = 3};
    int64_t    id = 0;
    struct db *db = db_pool_take(archive_db(k->a), NULL);
    assert_non_null(db);
    kit_ok(tenant_add(db, &t, &id, &kit_e));
    db_pool_give(archive_db(k->a), db);
    k->from[i] = (struct ingest_from){.tenant_id = id,
                                      .tenant = str_of(code),
                                      .calling = STR("CT1"),
                                      .called = str_of(code),
                                      .address = STR("127.0.0.1")};
}

static inline void kit_init(struct kit *k)
{
    const char *base = getenv("GARONNE_TEST_DIR"); // NOLINT(concurrency-mt-unsafe)
    *k = (struct kit){.conf = {.recover = true, .note = kit_note}};
    (void)snprintf(k->data, sizeof(k->data), "%s/garonne-archive-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(k->data));
    k->conf.data = k->data;
    k->conf.note_ctx = k;
    kit_open(k);
    kit_tenant(k, 0, "PURPAN");
    kit_tenant(k, 1, "RANGUEIL");
    kit_ok(archive_registry_write(k->a, &kit_e));
}

static inline void kit_close(struct kit *k)
{
    archive_close(k->a);
    k->a = NULL;
}

static inline void kit_done(struct kit *k)
{
    kit_close(k);
    kit_remove(k->data);
}

static inline void kit_reopen(struct kit *k)
{
    kit_close(k);
    kit_open(k);
}

/* ---- objects */

static inline void kit_elem(struct buf *b, uint32_t tag, const char *vr, struct str value)
{
    bool pad = value.len % 2 != 0;
    buf_u16le(b, (uint16_t)(tag >> 16));
    buf_u16le(b, (uint16_t)tag);
    buf_str(b, str_of(vr));
    buf_u16le(b, (uint16_t)(value.len + (pad ? 1 : 0)));
    buf_str(b, value);
    if (pad) {
        buf_u8(b, vr[0] == 'U' ? 0 : ' ');
    }
}

static inline void kit_long(struct buf *b, uint32_t tag, const char *vr, size_t n, unsigned seed)
{
    buf_u16le(b, (uint16_t)(tag >> 16));
    buf_u16le(b, (uint16_t)tag);
    buf_str(b, str_of(vr));
    buf_u16le(b, 0);
    buf_u32le(b, (uint32_t)n);
    uint8_t *p = buf_grow(b, n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)((i * 2654435761U + (size_t)seed * 40503U) >> 11);
    }
}

static inline struct str kit_uid(char ret[65], const char *kind, const struct kit_object *o)
{
    int n = kind[0] == 'i'
                ? snprintf(ret, 65, "1.2.826.0.1.%u.%u.%u", o->study, o->series, o->image)
            : kind[0] == 'e' ? snprintf(ret, 65, "1.2.826.0.1.%u.%u", o->study, o->series)
                             : snprintf(ret, 65, "1.2.826.0.1.%u", o->study);
    return (struct str){ret, (size_t)n};
}

static inline struct str kit_class(const struct kit_object *o)
{
    return o->cls != NULL ? str_of(o->cls) : STR(KIT_CT);
}

static inline void kit_dset(const struct kit_object *o, struct buf *b)
{
    char uid[65], text[32];
    buf_clear(b);
    kit_elem(b, 0x00080016, "UI", kit_class(o));
    kit_elem(b, 0x00080018, "UI", kit_uid(uid, "image", o));
    (void)snprintf(text, sizeof(text), "202401%02u", o->study % 28 + 1);
    kit_elem(b, 0x00080020, "DA", str_of(text));
    kit_elem(b, 0x00080060, "CS", o->cls != NULL ? STR("MR") : STR("CT"));
    if (o->ballast > 0) {
        kit_elem(b, 0x00090010, "LO", STR("BALLAST"));
        kit_long(b, 0x00091001, "OB", o->ballast, 1);
    }
    kit_elem(b, 0x00100010, "PN", o->patient != NULL ? str_of(o->patient) : STR("TEST^PATIENT"));
    (void)snprintf(text, sizeof(text), "P%u", o->study);
    kit_elem(b, 0x00100020, "LO", str_of(text));
    kit_elem(b, 0x0020000D, "UI", kit_uid(uid, "study", o));
    kit_elem(b, 0x0020000E, "UI", kit_uid(uid, "eries", o));
    (void)snprintf(text, sizeof(text), "%u", o->image);
    kit_elem(b, 0x00200013, "IS", str_of(text));
    kit_elem(b, 0x00280010, "US", (struct str){"\x40\x00", 2});
    kit_elem(b, 0x00280011, "US", (struct str){"\x40\x00", 2});
    kit_elem(b, 0x00280100, "US", (struct str){"\x08\x00", 2});
    kit_elem(b, 0x00400275, "LO", STR("x"));
    kit_long(b, 0x7FE00010, "OW", o->pixels, o->image + o->salt * 1000U);
}

static inline enum err kit_begin(struct kit *k, size_t tenant, const struct kit_object *o,
                                 struct ingest **ret, struct errmsg *e)
{
    char uid[65];
    return ingest_begin(k->a, &k->from[tenant], kit_class(o), kit_uid(uid, "image", o),
                        STR(KIT_SYNTAX), ret, e);
}

/* In pieces of that size. */
static inline enum err kit_send(struct kit *k, size_t tenant, const struct kit_object *o,
                                size_t piece, enum ingest_outcome *ret, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    struct ingest               *i = NULL;
    buf_init(&b, 64 << 20);
    kit_dset(o, &b);
    enum err rc = kit_begin(k, tenant, o, &i, e);
    for (size_t at = 0; rc == ERR_OK && at < b.len; at += piece) {
        struct bytes p = {b.ptr + at, b.len - at < piece ? b.len - at : piece};
        rc = ingest_add(i, p, e);
    }
    if (rc == ERR_OK) {
        return ingest_commit(i, ret, e);
    }
    ingest_abort(i);
    return rc;
}

static inline struct index_counts kit_counts(struct kit *k)
{
    struct index_counts c = {0};
    struct db          *db = db_pool_take(archive_db(k->a), NULL);
    assert_non_null(db);
    kit_ok(index_count(db, 0, &c, &kit_e));
    db_pool_give(archive_db(k->a), db);
    return c;
}

static inline void kit_store(struct kit *k, const struct kit_object *o)
{
    enum ingest_outcome how = INGEST_QUARANTINED;
    kit_ok(kit_send(k, 0, o, 16 << 10, &how, &kit_e));
    assert_int_equal(how, INGEST_STORED);
}

/* ---- answers */

static inline int64_t kit_series_id(struct kit *k, size_t tenant, const struct kit_object *o)
{
    char              study[65], series[65];
    struct series_ids ids = {0};
    struct db        *db = db_pool_take(archive_db(k->a), NULL);
    assert_non_null(db);
    enum err rc = series_by_uid(db, k->from[tenant].tenant_id, kit_uid(study, "study", o),
                                kit_uid(series, "eries", o), &ids, NULL);
    db_pool_give(archive_db(k->a), db);
    return rc == ERR_OK ? ids.series_id : 0;
}

static inline size_t kit_list(struct kit *k, size_t tenant, const struct kit_object *o,
                              struct arena *mem, struct object **ret)
{
    size_t n = 0;
    kit_ok(archive_list(k->a, kit_series_id(k, tenant, o), mem, ret, &n, &kit_e));
    return n;
}

/* The stored data set is that of o. */
static inline void kit_check(struct kit *k, const struct object *x, const struct kit_object *o)
{
    CLEANUP(buf_done) struct buf want;
    CLEANUP(buf_done) struct buf got;
    struct object_file           f;
    buf_init(&want, 64 << 20);
    buf_init(&got, 64 << 20);
    kit_dset(o, &want);
    kit_ok(object_open(k->a, x, &f, &kit_e));
    assert_int_equal(f.data_len, want.len);
    uint8_t *p = buf_grow(&got, want.len);
    assert_non_null(p);
    size_t n = 0;
    kit_ok(f.src.read(f.src.ctx, 0, p, want.len, &n, &kit_e));
    assert_int_equal(n, want.len);
    assert_memory_equal(p, want.ptr, want.len);
    object_close(&f);
}

/* How many times the archive has o, whole: in the list of its series. */
static inline size_t kit_has(struct kit *k, size_t tenant, const struct kit_object *o)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 256 << 20);
    struct object *x = NULL;
    char           uid[65];
    struct str     want = kit_uid(uid, "image", o);
    size_t         found = 0, n = 0;
    if (kit_series_id(k, tenant, o) != 0) {
        n = kit_list(k, tenant, o, &mem, &x);
    }
    for (size_t i = 0; i < n; i++) {
        if (str_eq(str_of(x[i].image.sop_uid), want)) {
            kit_check(k, &x[i], o);
            found++;
        }
    }
    return found;
}
