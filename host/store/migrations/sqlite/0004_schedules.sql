-- Calls that come round. The arguments are sealed by the vault. A firing is claimed before it is called and settled
-- afterwards: what a crash leaves claimed is called again under the same idempotency key, which runs it once.

CREATE TABLE schedules (
    id             TEXT    NOT NULL PRIMARY KEY,
    tenant         TEXT    NOT NULL,
    user_id        TEXT    NOT NULL,
    key_id         TEXT    NOT NULL,
    tool           TEXT    NOT NULL,
    cron           TEXT    NOT NULL,
    zone           TEXT    NOT NULL,
    jitter_seconds INTEGER NOT NULL,
    missed         TEXT    NOT NULL,
    arguments      BLOB    NOT NULL,
    created_at     INTEGER NOT NULL,
    fire_at        INTEGER,
    due_at         INTEGER,
    claimed_at     INTEGER,
    last_fire_at   INTEGER,
    last_call      TEXT,
    last_outcome   TEXT
) STRICT;
CREATE INDEX schedules_by_due ON schedules (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX schedules_by_owner ON schedules (tenant, user_id, created_at);
