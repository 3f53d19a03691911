-- +goose Up
-- The URL of a webhook may itself be what lets one post to it, so it is sealed
-- together with the signing key.
CREATE TABLE webhooks (
    name       TEXT PRIMARY KEY,
    doc        TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- What still has to be delivered, and what could not be. The body is made once,
-- with the change it tells of.
CREATE TABLE deliveries (
    id         TEXT PRIMARY KEY,
    webhook    TEXT NOT NULL REFERENCES webhooks (name),
    event_id   BIGINT NOT NULL,
    body       TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    retry_at   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_error TEXT NOT NULL
);
CREATE INDEX deliveries_by_state ON deliveries (state, retry_at);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook);

-- +goose Down
DROP TABLE deliveries;
DROP TABLE webhooks;
