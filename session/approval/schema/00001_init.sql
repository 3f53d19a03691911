-- +goose Up
-- One schema for SQLite and PostgreSQL: times are microseconds since the epoch
-- (0 = unset), documents are JSON text, BYTEA is a BLOB to SQLite. Ids of events
-- and audit rows come from counters, whose row lock makes commit order and id
-- order the same: a watcher that resumes after id N has seen all of 1..N.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('events', 0), ('audit', 0);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE sealed_keys (
    name   TEXT PRIMARY KEY,
    sealed BYTEA NOT NULL,
    public TEXT NOT NULL
);

CREATE TABLE principals (
    id         TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    email      TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);

CREATE TABLE policies (
    digest     TEXT PRIMARY KEY,
    data       BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

CREATE TABLE connections (
    name       TEXT PRIMARY KEY,
    doc        TEXT NOT NULL,
    credential BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

CREATE TABLE requests (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    state        TEXT NOT NULL,
    reuse        TEXT NOT NULL,
    digest       TEXT NOT NULL,
    shape_digest TEXT NOT NULL,
    approvals    BIGINT NOT NULL,
    grant_id     TEXT NOT NULL,
    doc          TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    decided_at   BIGINT NOT NULL,
    version      BIGINT NOT NULL
);
CREATE INDEX requests_by_state ON requests (state, expires_at);
CREATE INDEX requests_by_principal ON requests (principal_id, created_at);
CREATE INDEX requests_by_session ON requests (session_id, shape_digest);
-- A statement has at most one live request per session, whatever races.
CREATE UNIQUE INDEX requests_live ON requests (session_id, digest)
    WHERE kind = 'statement' AND state IN ('pending', 'approved');

-- The digests beyond its own that an approval by shape was matched with.
CREATE TABLE request_digests (
    request_id TEXT NOT NULL REFERENCES requests (id),
    digest     TEXT NOT NULL,
    PRIMARY KEY (request_id, digest)
);

CREATE TABLE decisions (
    id          TEXT PRIMARY KEY,
    request_id  TEXT NOT NULL REFERENCES requests (id),
    reviewer_id TEXT NOT NULL,
    doc         TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    at          BIGINT NOT NULL,
    UNIQUE (request_id, reviewer_id)
);

CREATE TABLE grants (
    id           TEXT PRIMARY KEY,
    request_id   TEXT NOT NULL UNIQUE REFERENCES requests (id),
    principal_id TEXT NOT NULL,
    doc          TEXT NOT NULL,
    issued_at    BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);

CREATE TABLE sessions (
    id            TEXT PRIMARY KEY,
    grant_id      TEXT NOT NULL UNIQUE REFERENCES grants (id),
    principal_id  TEXT NOT NULL,
    phase         TEXT NOT NULL,
    end_reason    TEXT NOT NULL,
    doc           TEXT NOT NULL,
    opened_at     BIGINT NOT NULL,
    first_use_at  BIGINT NOT NULL,
    first_use_by  BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL,
    policy_digest TEXT NOT NULL,
    token_digest  TEXT NOT NULL UNIQUE,
    recording_key TEXT NOT NULL,
    version       BIGINT NOT NULL
);
CREATE INDEX sessions_by_principal ON sessions (principal_id, opened_at);
CREATE INDEX sessions_by_phase ON sessions (phase, deadline);

CREATE TABLE upstreams (
    id           TEXT PRIMARY KEY,
    session_id   TEXT NOT NULL REFERENCES sessions (id),
    state        TEXT NOT NULL,
    base_url     TEXT NOT NULL,
    snowflake_id BIGINT NOT NULL,
    tokens       BYTEA NOT NULL,
    opened_at    BIGINT NOT NULL,
    closed_at    BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    retry_at     BIGINT NOT NULL
);
CREATE INDEX upstreams_by_session ON upstreams (session_id, state);
CREATE INDEX upstreams_by_state ON upstreams (state, retry_at);

CREATE TABLE witnesses (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    size       BIGINT NOT NULL,
    state      BYTEA NOT NULL,
    cosigned   BYTEA NOT NULL
);

CREATE TABLE recording_segments (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    file       TEXT NOT NULL,
    start      BIGINT NOT NULL,
    length     BIGINT NOT NULL,
    blob_key   TEXT NOT NULL,
    PRIMARY KEY (session_id, file, start)
);

CREATE TABLE events (
    id           BIGINT PRIMARY KEY,
    kind         TEXT NOT NULL,
    at           BIGINT NOT NULL,
    request_id   TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    principal_id TEXT NOT NULL
);

CREATE TABLE audit (
    id            BIGINT PRIMARY KEY,
    at            BIGINT NOT NULL,
    actor_id      TEXT NOT NULL,
    actor_session TEXT NOT NULL,
    action        TEXT NOT NULL,
    target        TEXT NOT NULL,
    outcome       TEXT NOT NULL,
    detail        TEXT NOT NULL
);
CREATE INDEX audit_by_actor ON audit (actor_id, at);
CREATE INDEX audit_by_target ON audit (target, at);

-- +goose Down
DROP TABLE audit;
DROP TABLE events;
DROP TABLE recording_segments;
DROP TABLE witnesses;
DROP TABLE upstreams;
DROP TABLE sessions;
DROP TABLE grants;
DROP TABLE decisions;
DROP TABLE request_digests;
DROP TABLE requests;
DROP TABLE connections;
DROP TABLE policies;
DROP TABLE principals;
DROP TABLE sealed_keys;
DROP TABLE settings;
DROP TABLE counters;
