-- When a study last gained or lost something, by the clock of the node that wrote it: pages that
-- show what arrives ask for what is newer.
ALTER TABLE study ADD COLUMN changed_us BIGINT NOT NULL DEFAULT 0;
CREATE INDEX study_changed ON study (changed_us);
--sqlite INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('study', 'study_changed', '1000000 2');
--sqlite ANALYZE sqlite_schema;
