-- Alerts: what stood, until when, and who answered. One that stands has no `ended_at`; of one kind and subject one stands at
-- a time. `private` ones are told to nobody outside this machine in words.
CREATE TABLE alerts (
    id          INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    severity    TEXT    NOT NULL,
    message     TEXT    NOT NULL,
    advice      TEXT    NOT NULL,
    private     INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    ended_at    INTEGER,
    ended_why   TEXT,
    acked_at    INTEGER,
    acked_by    TEXT,
    ack_note    TEXT,
    muted_until INTEGER,
    muted_by    TEXT
);
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE ended_at IS NULL;
CREATE INDEX alerts_ended ON alerts (ended_at) WHERE ended_at IS NOT NULL;
-- Which place was told of an alert: how often, when last, and whether also that it is over.
CREATE TABLE alert_told (
    alert  INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    target TEXT    NOT NULL,
    times  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    over   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (alert, target)
) WITHOUT ROWID;
CREATE INDEX alert_told_open ON alert_told (alert) WHERE over = 0;
