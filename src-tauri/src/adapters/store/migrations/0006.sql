-- Decisions that have been used, whatever came of them: one that was refused never acts later. `hash`
-- is that of the bytes the person signed; `code` is the refusal's, absent where it was taken.
CREATE TABLE decisions_used (
    hash        BLOB    PRIMARY KEY,
    proposal_id TEXT    NOT NULL,
    operator_id TEXT    NOT NULL,
    code        TEXT,
    at          INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX decisions_used_of ON decisions_used (proposal_id, operator_id);

-- `mixed` taints like `llm`, also what was stored before it did.
UPDATE facts SET tainted = 1, effective = 0
    WHERE tainted = 0 AND EXISTS (
        SELECT 1 FROM frames AS f, json_each(f.json, '$.trust.evidence_sources') AS source
        WHERE f.seq = facts.frame_seq AND source.value NOT IN ('sensor', 'device', 'human'));
