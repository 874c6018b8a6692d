-- Old readings by the hour: of each series how many there were, the smallest, the largest and the sum, added up when
-- their frames are pruned. Readings with another tier, state of signature or taint are another series; '' is no zone
-- and no unit. `since` and `until` are the first and the last of them, in
-- milliseconds after the hour began; `hours` counts a series' rows.
CREATE TABLE history_series (
    id        INTEGER PRIMARY KEY,
    origin    INTEGER NOT NULL REFERENCES devices (id),
    metric    TEXT    NOT NULL,
    zone      TEXT    NOT NULL,
    unit      TEXT    NOT NULL,
    tier      INTEGER NOT NULL,
    signature INTEGER NOT NULL,
    tainted   INTEGER NOT NULL,
    hours     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (metric, origin, zone, unit, tier, signature, tainted)
);
CREATE INDEX history_origin ON history_series (origin, hours);
CREATE TABLE history (
    series INTEGER NOT NULL REFERENCES history_series (id),
    hour   INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    low    REAL    NOT NULL,
    high   REAL    NOT NULL,
    total  REAL    NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (series, hour)
) WITHOUT ROWID;
-- Frames that do not come by the clock outlast readings and presences.
CREATE INDEX frames_lasting ON frames (seq)
    WHERE kind IN ('event', 'human_input', 'inference', 'agent_response');
