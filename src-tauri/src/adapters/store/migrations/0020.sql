-- Standing approvals as their givers signed them, and every use of one. One without json was ended before it came.
CREATE TABLE standing_approvals (
    id          BLOB    PRIMARY KEY,
    json        TEXT,
    operator_id TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    ended_at    INTEGER,
    ended_why   TEXT,
    ended_by    TEXT
) WITHOUT ROWID;
CREATE INDEX standing_live ON standing_approvals (received_at) WHERE ended_at IS NULL;
CREATE TABLE standing_uses (
    approval_id BLOB    NOT NULL REFERENCES standing_approvals (id),
    number      INTEGER NOT NULL,
    proposal_id TEXT    NOT NULL UNIQUE REFERENCES proposals (id),
    used_at     INTEGER NOT NULL,
    PRIMARY KEY (approval_id, number)
) WITHOUT ROWID;
