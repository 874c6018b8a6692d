-- Channels whose keys this node holds, as their persons signed them. `account` is whose chat it is, once the code of the
-- enrolment was entered there; no other channel has that account.
CREATE TABLE channels (
    id          BLOB    NOT NULL PRIMARY KEY,
    json        TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    given_at    INTEGER NOT NULL,
    account     TEXT,
    entered_at  INTEGER,
    alerts      INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE UNIQUE INDEX channels_account ON channels (kind, account) WHERE account IS NOT NULL;
-- Approvals through channels that counted at this executor in the last hour or so.
CREATE TABLE channel_uses (
    channel     BLOB    NOT NULL,
    proposal_id TEXT    NOT NULL,
    operator_id TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (channel, proposal_id)
) WITHOUT ROWID;
CREATE INDEX channel_uses_of ON channel_uses (operator_id, at);
