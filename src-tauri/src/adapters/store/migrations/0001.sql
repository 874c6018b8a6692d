-- The first schema. Times are milliseconds since 1970, ids are text as on the wire, `json` columns
-- hold JSON text. Never edit this file once released: add 0002.sql.

PRAGMA application_id = 0x434C4D53;

-- Small numbers for device ids, so that a frame row does not repeat 64 digits.
CREATE TABLE devices (
    id        INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL UNIQUE
);

-- The frame log. Rows are only added at the new end and only removed at the old one, so the numbers
-- have no gaps and the count is a subtraction. `frame_key` is the first 8 bytes of SHA-256 of the
-- frame id: a short index that serves lookup and deduplication.
CREATE TABLE frames (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    frame_key      INTEGER NOT NULL,
    content        BLOB    NOT NULL,
    origin         INTEGER NOT NULL REFERENCES devices (id),
    frame_id       TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    claimed_at     INTEGER NOT NULL,
    time           INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    hlc            INTEGER,
    origin_seq     INTEGER,
    claimed_tier   INTEGER NOT NULL,
    effective_tier INTEGER NOT NULL,
    signature      INTEGER NOT NULL,
    tainted        INTEGER NOT NULL,
    hops           INTEGER NOT NULL,
    link_peer      INTEGER REFERENCES devices (id),
    flags          INTEGER NOT NULL,
    json           TEXT    NOT NULL
);
CREATE INDEX frames_key ON frames (frame_key);
CREATE INDEX frames_time ON frames (time);
CREATE INDEX frames_own ON frames (origin, origin_seq) WHERE link_peer IS NULL;
CREATE INDEX frames_own_hlc ON frames (hlc) WHERE link_peer IS NULL;

-- Frames that came with the id of a stored frame and other content or another origin.
CREATE TABLE frame_conflicts (
    id          INTEGER PRIMARY KEY,
    frame_key   INTEGER NOT NULL,
    frame_id    TEXT    NOT NULL,
    origin      TEXT    NOT NULL,
    content     BLOB    NOT NULL,
    with_seq    INTEGER NOT NULL,
    link_peer   TEXT,
    received_at INTEGER NOT NULL,
    json        TEXT    NOT NULL
);
CREATE INDEX frame_conflicts_key ON frame_conflicts (frame_key);

-- The newest value of one metric in one zone from one origin; '' is no zone. `lead` decides
-- which of two is newer.
CREATE TABLE facts (
    origin      TEXT    NOT NULL,
    metric      TEXT    NOT NULL,
    zone        TEXT    NOT NULL,
    value       REAL,
    text        TEXT,
    unit        TEXT,
    frame_seq   INTEGER NOT NULL,
    frame_id    TEXT    NOT NULL,
    content     BLOB    NOT NULL,
    claimed     INTEGER NOT NULL,
    effective   INTEGER NOT NULL,
    signature   INTEGER NOT NULL,
    tainted     INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    hlc         INTEGER,
    received_at INTEGER NOT NULL,
    lead        INTEGER NOT NULL,
    PRIMARY KEY (metric, zone, origin)
) WITHOUT ROWID;

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    time     INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    severity TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    data     TEXT    NOT NULL
);

CREATE TABLE proposals (
    id         TEXT    PRIMARY KEY,
    executor   TEXT    NOT NULL,
    intent_key TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    operation  TEXT    NOT NULL,
    record     TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    signature  TEXT    NOT NULL,
    own        INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    draft_id   TEXT    NOT NULL,
    requester  TEXT,
    outcome    TEXT,
    reason     TEXT,
    revision   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX proposals_intent ON proposals (executor, intent_key)
    WHERE own = 1 AND status IN ('awaiting_approval', 'approved', 'executing');
CREATE INDEX proposals_open ON proposals (created_at)
    WHERE status IN ('awaiting_approval', 'approved', 'executing');
CREATE INDEX proposals_created ON proposals (created_at);
CREATE INDEX proposals_updated ON proposals (updated_at) WHERE own = 1;
CREATE INDEX proposals_draft ON proposals (draft_id);

-- What the executor did, as the policy's caps count it.
CREATE TABLE runs (
    proposal_id TEXT    PRIMARY KEY REFERENCES proposals (id),
    rule        TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    planned_ms  INTEGER NOT NULL,
    outcome     TEXT
) WITHOUT ROWID;
CREATE INDEX runs_started ON runs (started_at);

-- The standing decision of each operator about each proposal.
CREATE TABLE approvals (
    proposal_id TEXT    NOT NULL REFERENCES proposals (id),
    operator_id TEXT    NOT NULL,
    decision    TEXT    NOT NULL,
    record      TEXT    NOT NULL,
    signature   TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (proposal_id, operator_id)
) WITHOUT ROWID;

CREATE TABLE drafts (
    id          TEXT    PRIMARY KEY,
    executor    TEXT,
    target      TEXT    NOT NULL,
    json        TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    code        TEXT,
    message     TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    proposal_id TEXT
) WITHOUT ROWID;
CREATE INDEX drafts_waiting ON drafts (created_at) WHERE status = 'waiting';
CREATE INDEX drafts_created ON drafts (created_at);

CREATE TABLE commands (
    requester       TEXT    NOT NULL,
    command_id      TEXT    NOT NULL,
    idempotency_key TEXT,
    received_at     INTEGER NOT NULL,
    proposal_id     TEXT,
    PRIMARY KEY (requester, command_id)
) WITHOUT ROWID;
CREATE INDEX commands_received ON commands (received_at);

-- The audit chain: `hash` covers `seq`, `prev` and `json`; `signature` is the device's over `hash`.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,
    json      TEXT    NOT NULL,
    prev      BLOB    NOT NULL,
    hash      BLOB    NOT NULL,
    signature TEXT    NOT NULL
);

CREATE TABLE trust (
    device_id TEXT PRIMARY KEY,
    json      TEXT NOT NULL
) WITHOUT ROWID;

-- `json` is absent where only the revocation has arrived.
CREATE TABLE operators (
    operator_id TEXT PRIMARY KEY,
    json        TEXT,
    revocation  TEXT
) WITHOUT ROWID;
CREATE TRIGGER operators_stay_revoked BEFORE UPDATE ON operators
    WHEN OLD.revocation IS NOT NULL AND NEW.revocation IS NOT OLD.revocation
BEGIN
    SELECT RAISE(ABORT, 'a revocation is never taken back');
END;

CREATE TABLE kv (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
