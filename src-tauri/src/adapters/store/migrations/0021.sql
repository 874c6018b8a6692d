-- The steps of sequences that act: all are written when the sequence begins, so that nothing else moves their actuators
-- meanwhile; a step's start is written ahead of its movement.
CREATE TABLE steps (
    proposal_id TEXT    NOT NULL REFERENCES proposals (id),
    step        INTEGER NOT NULL,
    rule        TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    planned_ms  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    outcome     TEXT,
    PRIMARY KEY (proposal_id, step)
) WITHOUT ROWID;
CREATE INDEX steps_started ON steps (started_at) WHERE started_at IS NOT NULL;
CREATE INDEX steps_target ON steps (target);
