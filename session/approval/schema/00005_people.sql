-- +goose Up
-- What people say about a request. It decides nothing.
CREATE TABLE comments (
    id         TEXT PRIMARY KEY,
    request_id TEXT NOT NULL REFERENCES requests (id),
    position   BIGINT NOT NULL,
    doc        TEXT NOT NULL,
    at         BIGINT NOT NULL,
    UNIQUE (request_id, position)
);

-- Emergency access, until and after somebody has looked at it (reviewed_at, 0 =
-- not yet; review is the document of who did).
CREATE TABLE emergencies (
    request_id  TEXT PRIMARY KEY REFERENCES requests (id),
    at          BIGINT NOT NULL,
    reviewed_at BIGINT NOT NULL,
    review      TEXT NOT NULL
);
CREATE INDEX emergencies_by_time ON emergencies (at);

-- Mail that waits, one row for each event and recipient: what gathers for one
-- recipient is sent as one message. state is pending or dead.
CREATE TABLE mails (
    id         TEXT PRIMARY KEY,
    recipient  TEXT NOT NULL,
    event_id   BIGINT NOT NULL,
    urgent     BIGINT NOT NULL,
    doc        TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    retry_at   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_error TEXT NOT NULL
);
CREATE INDEX mails_by_state ON mails (state, retry_at);
CREATE INDEX mails_by_recipient ON mails (recipient, state);

-- When each recipient was last written to, for the pace of mail.
CREATE TABLE mail_paces (
    recipient TEXT PRIMARY KEY,
    sent_at   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE mail_paces;
DROP TABLE mails;
DROP TABLE emergencies;
DROP TABLE comments;
