-- +goose Up
-- A recording under a hold is not deleted, however old it is. Several matters
-- may hold one session; each lets go for itself.
CREATE TABLE holds (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    matter     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    placed_at  BIGINT NOT NULL,
    placed_by  TEXT NOT NULL,
    PRIMARY KEY (session_id, matter)
);

-- What stays of a recording that was deleted: doc lists its pieces with their
-- hashes. Its last checkpoint with the cosignature stays in witnesses.
CREATE TABLE tombstones (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    deleted_at BIGINT NOT NULL,
    doc        TEXT NOT NULL
);

-- Objects that nothing names any more and that are still in the bucket.
CREATE TABLE erasures (
    blob_key   TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    retry_at   BIGINT NOT NULL,
    last_error TEXT NOT NULL
);
CREATE INDEX erasures_by_retry ON erasures (retry_at);

CREATE INDEX sessions_by_end ON sessions (ended_at);
-- For taking a statement out of the index again.
CREATE INDEX statement_terms_by_id ON statement_terms (id);

-- +goose Down
DROP INDEX statement_terms_by_id;
DROP INDEX sessions_by_end;
DROP TABLE erasures;
DROP TABLE tombstones;
DROP TABLE holds;
