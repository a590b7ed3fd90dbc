-- Rejected images: how many of a series and which, SOP Instance UIDs in order, separated by '\'.
-- n_images does not count them.  reject_rev grows with every change.  The files beside the packs
-- are the truth (archive/reject.h).
ALTER TABLE study ADD COLUMN rejected BIGINT NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN rejected BIGINT NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN reject_rev BIGINT NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN rejected_uids ctext;
