-- The key of a record's issuer, so that every node can tell whether the issuer really said it. A row
-- of another issuer without one was never proven: it counts as absent until it comes again.
ALTER TABLE records ADD COLUMN issuer_key TEXT;
-- The newest proposal about each actuator.
CREATE INDEX proposals_target ON proposals (executor, target, updated_at);
-- A revoked device stays revoked, whoever writes.
CREATE TRIGGER trust_stays_revoked BEFORE UPDATE ON trust
    WHEN json_extract(OLD.json, '$.revokedAt') IS NOT NULL AND json_extract(NEW.json, '$.revokedAt') IS NULL
BEGIN
    SELECT RAISE(ABORT, 'a revocation is never taken back');
END;
