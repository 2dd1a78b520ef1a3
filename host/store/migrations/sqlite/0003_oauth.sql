-- Authorisations that a person has begun and not yet finished. The state itself is not here: whoever reads the
-- database cannot finish somebody's flow. Each row is taken once.
CREATE TABLE oauth_flows (
    state_digest BLOB    NOT NULL PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    way          TEXT    NOT NULL,
    sealed       BLOB    NOT NULL,
    interval_s   INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_flows_of_user ON oauth_flows (tenant, user_id, created_at);
