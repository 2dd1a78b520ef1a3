-- The first shape of the house's state. Times are microseconds since 1970 (UTC); digests and hashes are 32 raw
-- bytes; JSON is text. Where a user column may be '' the row is the tenant's own.

CREATE TABLE api_keys (
    id            TEXT   NOT NULL PRIMARY KEY,
    tenant        TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    label         TEXT   NOT NULL,
    secret_digest BLOB   NOT NULL UNIQUE,
    results       TEXT   NOT NULL,
    created_at    INTEGER NOT NULL,
    revoked_at    INTEGER
) STRICT;

CREATE TABLE skills (
    tenant       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    version      TEXT    NOT NULL,
    digest       BLOB    NOT NULL,
    trust        TEXT    NOT NULL,
    publisher    TEXT,
    envelope     TEXT,
    grants       TEXT    NOT NULL,
    settings     TEXT    NOT NULL,
    enabled      INTEGER NOT NULL,
    installed_by TEXT    NOT NULL,
    installed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT;

-- Every version that was ever installed, with the digest of its package; never shrinks, so that a removed skill
-- cannot come back older, nor as other bytes under the same version.
CREATE TABLE skill_versions (
    tenant  TEXT NOT NULL,
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    digest  BLOB NOT NULL,
    PRIMARY KEY (tenant, name, version)
) STRICT;

CREATE TABLE publishers (
    tenant      TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    public_key  BLOB   NOT NULL,
    name        TEXT   NOT NULL,
    role        TEXT   NOT NULL,
    added_at    INTEGER NOT NULL,
    revoked_at  INTEGER,
    PRIMARY KEY (tenant, fingerprint)
) STRICT;

CREATE TABLE skill_pins (
    tenant      TEXT NOT NULL,
    skill       TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (tenant, skill)
) STRICT;

CREATE TABLE connections (
    tenant     TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    service    TEXT   NOT NULL,
    version    INTEGER NOT NULL,
    meta       TEXT   NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_id, service)
) STRICT;

CREATE TABLE credentials (
    tenant  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    service TEXT NOT NULL,
    field   TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (tenant, user_id, service, field),
    FOREIGN KEY (tenant, user_id, service) REFERENCES connections (tenant, user_id, service) ON DELETE CASCADE
) STRICT;

-- The highest version a connection ever had; never shrinks, so that no version is sealed twice.
CREATE TABLE connection_versions (
    tenant  TEXT   NOT NULL,
    user_id TEXT   NOT NULL,
    service TEXT   NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_id, service)
) STRICT;

CREATE TABLE vault_meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE calls (
    id              TEXT   NOT NULL PRIMARY KEY,
    tenant          TEXT   NOT NULL,
    user_id         TEXT   NOT NULL,
    key_id          TEXT   NOT NULL,
    tool            TEXT   NOT NULL,
    correlation     TEXT   NOT NULL,
    idempotency_key TEXT,
    request_digest  BLOB   NOT NULL,
    status          TEXT   NOT NULL,
    sealed_result   BLOB,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    expires_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX calls_by_idempotency_key ON calls (tenant, user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX calls_unfinished ON calls (created_at) WHERE finished_at IS NULL;
CREATE INDEX calls_by_expiry ON calls (expires_at) WHERE finished_at IS NOT NULL;

CREATE TABLE state (
    tenant TEXT NOT NULL,
    skill  TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (tenant, skill, name)
) STRICT;

-- What a skill's entries weigh (bytes of names and values), kept beside them so that the quota costs one read.
CREATE TABLE state_usage (
    tenant  TEXT   NOT NULL,
    skill   TEXT   NOT NULL,
    bytes   INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (tenant, skill)
) STRICT;

-- The audit log. `position` is the order of arrival over all writers; (writer, seq) is the place in a chain.
-- There is no index on random values on purpose: each would dirty a page a record. `audit_by_time` grows at
-- its right edge only, and so does (writer, seq).
CREATE TABLE audit (
    position    INTEGER NOT NULL PRIMARY KEY,
    writer      TEXT    NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq >= 1),
    time        INTEGER NOT NULL,
    tenant      TEXT,
    user_id     TEXT,
    action      TEXT    NOT NULL,
    tool        TEXT,
    outcome     TEXT    NOT NULL,
    correlation TEXT,
    call_id     TEXT,
    body        TEXT,
    body_digest BLOB    NOT NULL CHECK (length(body_digest) = 32),
    prev        BLOB    NOT NULL CHECK (length(prev) = 32),
    hash        BLOB    NOT NULL CHECK (length(hash) = 32),
    UNIQUE (writer, seq)
) STRICT;
CREATE INDEX audit_by_time ON audit (time);

CREATE TABLE audit_checkpoints (
    writer    TEXT   NOT NULL,
    number    INTEGER NOT NULL CHECK (number >= 1),
    seq       INTEGER NOT NULL CHECK (seq >= 1),
    hash      BLOB   NOT NULL,
    time      INTEGER NOT NULL,
    signature BLOB   NOT NULL,
    PRIMARY KEY (writer, number)
) STRICT;

-- Written and emptied again to learn whether a write would succeed.
CREATE TABLE probe (
    id      INTEGER NOT NULL PRIMARY KEY,
    ballast BLOB    NOT NULL
) STRICT;
