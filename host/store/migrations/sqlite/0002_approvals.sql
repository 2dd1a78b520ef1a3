-- What waits for a person, what a person decided, and what follows from it. Requests and decisions are sealed by the
-- vault: a row that was written by anybody else is not believed.

CREATE TABLE approvals (
    id          TEXT    NOT NULL PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    key_id      TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    tool        TEXT    NOT NULL,
    risk        TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    request     BLOB    NOT NULL,
    decision    BLOB,
    first_by    TEXT,
    decided_by  TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    decided_at  INTEGER,
    started_at  INTEGER
) STRICT;
CREATE INDEX approvals_open ON approvals (expires_at)
    WHERE status = 'pending' OR (status = 'approved' AND started_at IS NULL);
CREATE INDEX approvals_by_owner ON approvals (tenant, user_id, created_at);
CREATE INDEX approvals_by_tenant ON approvals (tenant, created_at);
CREATE INDEX approvals_by_age ON approvals (created_at);

-- An agent's session; a person may raise what passes by itself in it, for a time.
CREATE TABLE sessions (
    id            TEXT    NOT NULL PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    ceiling       TEXT,
    ceiling_until INTEGER,
    ceiling_by    TEXT,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_owner ON sessions (tenant, user_id);

-- A standing yes to calls of one tool whose arguments fit a pattern (sealed), for a time.
CREATE TABLE grants (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    session    TEXT,
    tool       TEXT    NOT NULL,
    terms      BLOB    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    uses       INTEGER NOT NULL
) STRICT;
CREATE INDEX grants_by_owner ON grants (tenant, user_id, tool);
CREATE INDEX grants_by_expiry ON grants (expires_at);

-- Several calls that were asked for at once; their steps are sealed.
CREATE TABLE plans (
    id              TEXT    NOT NULL PRIMARY KEY,
    tenant          TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    key_id          TEXT    NOT NULL,
    correlation     TEXT    NOT NULL,
    idempotency_key TEXT,
    request_digest  BLOB    NOT NULL CHECK (length(request_digest) = 32),
    status          TEXT    NOT NULL,
    body            BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    expires_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX plans_by_idempotency_key ON plans (tenant, user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX plans_unfinished ON plans (created_at) WHERE finished_at IS NULL;
CREATE INDEX plans_by_expiry ON plans (expires_at) WHERE finished_at IS NOT NULL;
