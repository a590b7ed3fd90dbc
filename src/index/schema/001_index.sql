-- Tenants, peers, patients, studies, series, packs.  Lines that begin with the name of an engine are
-- for that engine alone; the text type compares bytes on both, whatever the database's collation is.
--
-- Absent texts are NULL, which keeps them out of the partial indexes; absent dates are '', so that
-- both engines sort them last among the newest.  *_key columns hold text_key() of dicom/match.h,
-- more holds seldom attributes as DICOM JSON.
--postgres CREATE DOMAIN ctext AS TEXT COLLATE "C";

CREATE TABLE tenant (
--sqlite   tenant_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres tenant_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code ctext NOT NULL UNIQUE,
    name ctext NOT NULL,
    aet ctext NOT NULL UNIQUE,
    services INTEGER NOT NULL
);

CREATE TABLE peer (
--sqlite   peer_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres peer_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant,
    aet ctext NOT NULL,
    host ctext NOT NULL,
    port INTEGER NOT NULL,
    cert ctext NOT NULL,
    tls INTEGER NOT NULL,
    charset ctext NOT NULL,
    UNIQUE (tenant_id, aet)
);

-- ident: patient identifier and issuer, or the study for images without an identifier, which are
-- never taken for one person.  newest: date, time and UID of the study whose
-- attributes are here.
CREATE TABLE patient (
--sqlite   patient_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres patient_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant,
    ident ctext NOT NULL,
    newest ctext NOT NULL,
    pid ctext,
    issuer ctext,
    name ctext,
    birth_date ctext,
    sex ctext,
    more ctext,
    pid_key ctext,
    name_key ctext,
    alt ctext,
    UNIQUE (tenant_id, ident)
);
CREATE INDEX patient_newest ON patient (tenant_id, newest);
CREATE INDEX patient_pid ON patient (tenant_id, pid_key) WHERE pid_key IS NOT NULL;
CREATE INDEX patient_name ON patient (tenant_id, name_key) WHERE name_key IS NOT NULL;
CREATE INDEX patient_alt ON patient (tenant_id, alt) WHERE alt IS NOT NULL;
CREATE INDEX patient_birth ON patient (tenant_id, birth_date) WHERE birth_date IS NOT NULL;

-- The patient's attributes as the first image of the study gave them; alt: ideographic and phonetic
-- groups of the names.  modalities and sop_classes: "|CT|SR|".
CREATE TABLE study (
--sqlite   study_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres study_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant,
    patient_id BIGINT NOT NULL REFERENCES patient,
    uid ctext NOT NULL,
    study_date ctext NOT NULL,
    study_time ctext NOT NULL,
    n_series INTEGER NOT NULL,
    n_images BIGINT NOT NULL,
    modalities ctext NOT NULL,
    sop_classes ctext NOT NULL,
    pid ctext,
    issuer ctext,
    name ctext,
    birth_date ctext,
    sex ctext,
    accession ctext,
    study_no ctext,
    description ctext,
    referring ctext,
    more ctext,
    pid_key ctext,
    name_key ctext,
    accession_key ctext,
    study_no_key ctext,
    description_key ctext,
    referring_key ctext,
    alt ctext,
    UNIQUE (tenant_id, uid)
);
CREATE INDEX study_patient ON study (patient_id);
CREATE INDEX study_date ON study (tenant_id, study_date);
CREATE INDEX study_pid ON study (tenant_id, pid_key) WHERE pid_key IS NOT NULL;
-- With the study, so that PostgreSQL can look for a part of a name in the index alone (in SQLite it
-- is there in any case).
--sqlite   CREATE INDEX study_name ON study (tenant_id, name_key) WHERE name_key IS NOT NULL;
--postgres CREATE INDEX study_name ON study (tenant_id, name_key) INCLUDE (study_id) WHERE name_key IS NOT NULL;
CREATE INDEX study_alt ON study (tenant_id, alt) WHERE alt IS NOT NULL;
CREATE INDEX study_birth ON study (tenant_id, birth_date) WHERE birth_date IS NOT NULL;
CREATE INDEX study_accession ON study (tenant_id, accession_key) WHERE accession_key IS NOT NULL;
CREATE INDEX study_no ON study (tenant_id, study_no_key) WHERE study_no_key IS NOT NULL;
--sqlite   CREATE INDEX study_referring ON study (tenant_id, referring_key) WHERE referring_key IS NOT NULL;
--postgres CREATE INDEX study_referring ON study (tenant_id, referring_key) INCLUDE (study_id) WHERE referring_key IS NOT NULL;

CREATE TABLE series (
--sqlite   series_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres series_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant,
    study_id BIGINT NOT NULL REFERENCES study,
    uid ctext NOT NULL,
    n_images BIGINT NOT NULL,
    sop_class ctext NOT NULL,
    modality ctext,
    number BIGINT,
    description ctext,
    series_date ctext,
    series_time ctext,
    body_part ctext,
    protocol ctext,
    station ctext,
    institution ctext,
    manufacturer ctext,
    model ctext,
    performer ctext,
    pps_date ctext,
    pps_time ctext,
    more ctext,
    UNIQUE (tenant_id, uid, study_id)
);
CREATE INDEX series_study ON series (study_id);

CREATE TABLE pack (
--sqlite   pack_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres pack_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant,
    series_id BIGINT NOT NULL REFERENCES series,
    n INTEGER NOT NULL,
    state INTEGER NOT NULL,
    bytes BIGINT NOT NULL,
    images INTEGER NOT NULL,
    manifest_at BIGINT NOT NULL,
    manifest_len BIGINT NOT NULL,
    metadata_at BIGINT NOT NULL,
    metadata_len BIGINT NOT NULL,
    sha256 ctext NOT NULL,
    UNIQUE (series_id, n)
);
CREATE INDEX pack_open ON pack (pack_id) WHERE state = 0;

CREATE TABLE quarantine (
--sqlite   quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres quarantine_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant,
    study_uid ctext NOT NULL,
    series_uid ctext NOT NULL,
    sop_uid ctext NOT NULL,
    path ctext NOT NULL,
    calling ctext NOT NULL,
    received_us BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    UNIQUE (tenant_id, path)
);
CREATE INDEX quarantine_tenant ON quarantine (tenant_id, received_us);

-- What the tables of a region look like, so that SQLite takes the same plans from the first row to
-- the last: rows, rows of a tenant, rows of a tenant with the same key.  (PostgreSQL keeps its own.)
--sqlite ANALYZE;
--sqlite DELETE FROM sqlite_stat1;
--sqlite INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
--sqlite     ('patient', 'sqlite_autoindex_patient_1', '400000 8000 1'),
--sqlite     ('patient', 'patient_newest', '400000 8000 4'),
--sqlite     ('patient', 'patient_pid', '400000 8000 1'),
--sqlite     ('patient', 'patient_name', '400000 8000 2'),
--sqlite     ('patient', 'patient_alt', '1000 20 2'),
--sqlite     ('patient', 'patient_birth', '400000 8000 2'),
--sqlite     ('study', 'sqlite_autoindex_study_1', '1000000 20000 1'),
--sqlite     ('study', 'study_patient', '1000000 3'),
--sqlite     ('study', 'study_date', '1000000 20000 20'),
--sqlite     ('study', 'study_pid', '1000000 20000 3'),
--sqlite     ('study', 'study_name', '1000000 20000 4'),
--sqlite     ('study', 'study_alt', '1000 20 2'),
--sqlite     ('study', 'study_birth', '1000000 20000 5'),
--sqlite     ('study', 'study_accession', '1000000 20000 1'),
--sqlite     ('study', 'study_no', '1000000 20000 2'),
--sqlite     ('study', 'study_referring', '1000000 20000 100'),
--sqlite     ('series', 'sqlite_autoindex_series_1', '2000000 40000 1 1'),
--sqlite     ('series', 'series_study', '2000000 3'),
--sqlite     ('pack', 'sqlite_autoindex_pack_1', '2000000 1 1'),
--sqlite     ('pack', 'pack_open', '100 1');
--sqlite ANALYZE sqlite_schema;
