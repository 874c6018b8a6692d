-- The newest readings in narrow rows: devices by their small numbers, frame ids as bytes. A row that is wider than a
-- fourth of a page has a page of its own beside, and every commit writes it.
INSERT OR IGNORE INTO devices (device_id)
SELECT origin FROM facts UNION SELECT charged FROM facts WHERE charged NOT NULL;
CREATE TABLE facts_narrow (
    metric      TEXT    NOT NULL,
    zone        TEXT    NOT NULL,
    origin      INTEGER NOT NULL,
    value       REAL,
    text        TEXT,
    unit        TEXT,
    frame_seq   INTEGER NOT NULL,
    frame_id            NOT NULL,
    content     BLOB    NOT NULL,
    claimed     INTEGER NOT NULL,
    effective   INTEGER NOT NULL,
    signature   INTEGER NOT NULL,
    tainted     INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    hlc         INTEGER,
    received_at INTEGER NOT NULL,
    lead        INTEGER NOT NULL,
    charged     INTEGER NOT NULL,
    PRIMARY KEY (metric, zone, origin)
) WITHOUT ROWID;
INSERT INTO facts_narrow
SELECT f.metric, f.zone, o.id, f.value, f.text, f.unit, f.frame_seq, f.frame_id, f.content, f.claimed, f.effective,
    f.signature, f.tainted, f.time, f.hlc, f.received_at, f.lead, c.id
FROM facts f JOIN devices o ON o.device_id = f.origin JOIN devices c ON c.device_id = coalesce(f.charged, f.origin);
DROP TABLE facts;
ALTER TABLE facts_narrow RENAME TO facts;
CREATE INDEX facts_charged ON facts (charged);
