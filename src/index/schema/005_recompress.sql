-- What becomes of uncompressed images when their pack is sealed: 0 they stay, 1 HTJ2K without loss.
ALTER TABLE tenant ADD COLUMN recompress BIGINT NOT NULL DEFAULT 0;
