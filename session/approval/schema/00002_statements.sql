-- +goose Up
-- The index of recorded statements. id is the time in microseconds with twelve
-- bits that tell statements of one microsecond apart, so that newest first is
-- the order of the key. The terms of each statement are in statement_terms,
-- which terms.go makes: there the two databases differ in how a table can be
-- its own index.
CREATE TABLE statements (
    id         BIGINT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    seq        BIGINT NOT NULL,
    doc        TEXT NOT NULL,
    UNIQUE (session_id, seq)
);

-- +goose Down
DROP TABLE statements;
