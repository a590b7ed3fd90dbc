-- Tokens of those who call over HTTP; their text is known to the holder alone.
CREATE TABLE token (
--sqlite   token_id INTEGER PRIMARY KEY AUTOINCREMENT,
--postgres token_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name ctext NOT NULL,
    role ctext NOT NULL,
    sha256 ctext NOT NULL UNIQUE,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    revoked_us BIGINT NOT NULL
);

CREATE INDEX token_of ON token (tenant_id);
