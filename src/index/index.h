#pragma once
/*
 * The index: tenants, peers, patients, studies, series, packs.  A cache of what the packs say, in
 * SQLite or PostgreSQL; it can be deleted and rebuilt.  No row per image.  Every key begins with
 * the tenant.
 *
 * Functions take a connection (one thread) and may run inside a caller's transaction.  Views in
 * results live in the arena given.  Errors: ERR_NOTFOUND, ERR_EXISTS, and those of db.h.
 */
#include "base/arena.h"
#include "db/db.h"
#include "dicom/dset.h"

enum err index_migrate(struct db *db, struct errmsg *e);

/* ---- tenants and peers -------------------------------------------------------------------- */

enum service {
    SERVICE_PACS = 1,
    SERVICE_ARCHIVE = 2,
    SERVICE_BACKUP = 4,
    SERVICE_RIS = 8,
    SERVICE_SHARE = 16
};

enum recompress { RECOMPRESS_OFF, RECOMPRESS_HTJ2K, RECOMPRESS__COUNT };

struct tenant {
    int64_t         id;
    struct str      code; // [A-Z0-9_-]{1,32}: also the folder of its packs
    struct str      name;
    struct str      aet;        // called AE title, unique in the node
    unsigned        services;   // SERVICE_* bits
    enum recompress recompress; // of uncompressed images when their pack is sealed
};

struct peer {
    int64_t    id, tenant_id;
    struct str aet;  // calling AE title; unique within the tenant
    struct str host; // numeric address or name that calls must come from and C-MOVE connects to;
                     // empty: any address
    uint16_t   port; // 0: not a C-MOVE destination
    struct str cert; // SHA-256 of its certificate, lower-case hex; empty: not checked
    bool       tls;  // connect to it with TLS
    struct str
        charset; // preferred for answers ("ISO_IR 100"); empty: as the query, else ISO_IR 192
};

enum err tenant_add(struct db *db, const struct tenant *t, int64_t *ret_id, struct errmsg *e);
enum err tenant_update(struct db *db, const struct tenant *t, struct errmsg *e); // by id
enum err tenant_by_code(struct db *db, struct str code, struct arena *a, struct tenant *ret,
                        struct errmsg *e);
enum err tenant_by_aet(struct db *db, struct str aet, struct arena *a, struct tenant *ret,
                       struct errmsg *e);
enum err tenant_list(struct db *db, struct arena *a, struct tenant **ret, size_t *ret_n,
                     struct errmsg *e);
enum err tenant_remove(struct db *db, int64_t id,
                       struct errmsg *e); // ERR_CONFLICT text when it owns studies

enum err peer_add(struct db *db, const struct peer *p, int64_t *ret_id, struct errmsg *e);
enum err peer_update(struct db *db, const struct peer *p, struct errmsg *e);
enum err peer_remove(struct db *db, int64_t tenant_id, struct str aet, struct errmsg *e);
enum err peer_by_aet(struct db *db, int64_t tenant_id, struct str aet, struct arena *a,
                     struct peer *ret, struct errmsg *e);
/* tenant_id 0: of all. */
enum err peer_list(struct db *db, int64_t tenant_id, struct arena *a, struct peer **ret,
                   size_t *ret_n, struct errmsg *e);

/* ---- filing: called by archive when a series is first seen, a pack is opened, counted, sealed
 * ----- */

/*
 * Upsert patient, study and series from the header of one image (any charset); inside the caller's
 * transaction.  The study keeps the patient attributes as its first image gave them (search by
 * study), the patient row those of the newest study.  Modality joins the study's ModalitiesInStudy,
 * SOP class its SOPClassesInStudy.
 */
struct series_ids {
    int64_t patient_id, study_id, series_id;
    bool    new_series;
};
enum err index_file(struct db *db, int64_t tenant_id, const struct dset *header,
                    struct series_ids *ret, struct errmsg *e);
enum err series_by_uid(struct db *db, int64_t tenant_id, struct str study_uid,
                       struct str series_uid, struct series_ids *ret, struct errmsg *e);

struct uid_list {
    struct str *v;
    size_t      n;
};
/* Of all series of a study, in the order of their arrival; there may be none. */
enum err series_uids(struct db *db, int64_t tenant_id, struct str study_uid, struct arena *a,
                     struct uid_list *ret, struct errmsg *e);

enum pack_state { PACK_OPEN, PACK_SEALED };

struct pack_row {
    int64_t         id, tenant_id, series_id;
    uint32_t        n; // 1, 2, …: n-th pack of its series
    enum pack_state state;
    uint64_t        bytes; // of the file (sealed) or of the images so far (open)
    uint32_t        images;
    uint64_t   manifest_at, manifest_len; // sealed: where manifest.json's content lies in the file
    uint64_t   metadata_at, metadata_len; // sealed: metadata.json.gz
    struct str sha256;                    // sealed: of the whole file, hex
    struct str study_uid, series_uid, tenant_code; // joined, for the path
    uint64_t   rejected,
        reject_rev; // joined: images of the series, and the number of the last change
};

enum err pack_row_add(struct db *db, const struct pack_row *p, int64_t *ret_id,
                      struct errmsg *e); // ERR_EXISTS: (series, n) taken
/* bytes, images of an open pack, and the sums of its series and study (counts move by the
 * difference). */
enum err pack_row_count(struct db *db, int64_t pack_id, uint64_t bytes, uint32_t images,
                        struct errmsg *e);
enum err pack_row_seal(struct db *db, const struct pack_row *p, struct errmsg *e);
enum err
         pack_row_remove(struct db *db, int64_t pack_id,
                         struct errmsg *e); // counts move too; an empty series, study, patient row goes
enum err pack_rows_of_series(struct db *db, int64_t series_id, struct arena *a,
                             struct pack_row **ret, size_t *ret_n, struct errmsg *e);
enum err pack_rows_open(struct db *db, struct arena *a, struct pack_row **ret, size_t *ret_n,
                        struct errmsg *e);

/* Packs by id, beginning after one, at most max: for verify and reindex. */
struct pack_page {
    int64_t tenant_id; // 0: of all
    int64_t after;
    size_t  max;
};
enum err pack_rows_after(struct db *db, const struct pack_page *page, struct arena *a,
                         struct pack_row **ret, size_t *ret_n, struct errmsg *e);

/* Conflicting duplicates set aside: the reconciliation desk's rows. */
struct quarantine_row {
    int64_t    id, tenant_id;
    struct str study_uid, series_uid, sop_uid;
    struct str path;    // relative to the archive root
    struct str calling; // who sent it
    int64_t    received_us;
    uint64_t   bytes;
};
/* A path that has a row already keeps it as it is. */
enum err quarantine_add(struct db *db, const struct quarantine_row *r, struct errmsg *e);
enum err quarantine_remove(struct db *db, int64_t id, struct errmsg *e);
enum err quarantine_list(struct db *db, int64_t tenant_id, struct arena *a,
                         struct quarantine_row **ret, size_t *ret_n, struct errmsg *e);

/* ---- rejected images: kept, but not found, counted, or given out -------------------------- */

struct uid_set { // in the order of uid_order, each once
    struct str *v;
    size_t      n;
};

int  uid_order(const void *a, const void *b); // of struct str, for qsort
bool uid_set_has(const struct uid_set *s, struct str uid);

/* SOP Instance UIDs. */
enum err rejects_get(struct db *db, int64_t series_id, struct arena *a, struct uid_set *ret,
                     struct errmsg *e);
/* From now on these; sums move by the difference.  A series, a study or a patient of which nothing
 * else is left is not found any more. */
enum err rejects_set(struct db *db, int64_t series_id, const struct uid_set *to, struct errmsg *e);

/* ---- search ------------------------------------------------------------------------------- */

enum level { LEVEL_PATIENT, LEVEL_STUDY, LEVEL_SERIES, LEVEL_IMAGE };

struct find;

/*
 * Rows of one tenant that may match keys (any charset), newest first, as candidate data sets in
 * ISO_IR 192 with every attribute that the index keeps at that level and above (counts,
 * ModalitiesInStudy … included).  A superset: the caller decides with is_match().  level
 * LEVEL_IMAGE is not found here: find LEVEL_SERIES and ask the archive for the images. Relational:
 * keys of every level at or above may be given; UIDs may be lists.  keys must live until find_free.
 */
enum err index_find(struct db *db, int64_t tenant_id, enum level level, const struct dset *keys,
                    struct find **ret, struct errmsg *e);

struct find_opts {
    /* The caller will hardly want more rows than that, so the database need not put all of them in
     * order; those beyond come all the same, from a second statement.  0: all are wanted. */
    uint64_t expect;
    bool     words; // the caller decides with match_opts.words
};

void find_set(struct find *f, const struct find_opts *o); // before the first row

/* The next candidate, in arena a (reset by the caller between rows); ERR_NOTFOUND at the end. */
struct find_row {
    struct series_ids ids; // those of the level and above
    struct dset      *dset;
};
enum err find_next(struct find *f, struct arena *a, struct find_row *ret, struct errmsg *e);
void     find_free(struct find *f);

/* ---- what arrives */

struct study_change {
    int64_t    study_id, tenant_id;
    struct str uid;
    int64_t    series, images;
    int64_t    changed_us; // when it last gained or lost something, by the clock of who wrote it
};

struct change_page {
    int64_t since_us; // later than that
    size_t  max;
};
/* Of all tenants, oldest first. */
enum err study_changes(struct db *db, const struct change_page *page, struct arena *a,
                       struct study_change **ret, size_t *ret_n, struct errmsg *e) MUST_USE;

struct index_counts {
    int64_t tenants, peers, patients, studies, series, packs_open, packs_sealed, images, bytes,
        quarantined;
};
enum err index_count(struct db *db, int64_t tenant_id, struct index_counts *ret,
                     struct errmsg *e); // 0: all
