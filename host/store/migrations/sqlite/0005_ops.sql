-- Messages to the operator's webhooks. What is not done is sent again after a restart; what is done stays for a while, so
-- that nothing is told twice.
CREATE TABLE webhook_messages (
    hook       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    done_at    INTEGER,
    PRIMARY KEY (hook, id)
) STRICT;
CREATE INDEX webhook_messages_due ON webhook_messages (hook, due_at) WHERE done_at IS NULL;
CREATE INDEX webhook_messages_by_expiry ON webhook_messages (expires_at);

-- What retention has dropped is told by records of the log itself; there are few of them among many.
CREATE INDEX audit_retention ON audit (writer, seq) WHERE action = 'audit.retention';
