-- What each device makes us keep is counted against a share of its own. `via` is the device that brought
-- a record; `charged` is the device whose share a reading uses: its origin where that is proven, else
-- the device that brought it.
ALTER TABLE records ADD COLUMN via TEXT;
CREATE INDEX records_via ON records (via) WHERE acted = 0;
CREATE INDEX records_issuer ON records (issuer) WHERE acted = 1;
ALTER TABLE facts ADD COLUMN charged TEXT;
UPDATE facts SET charged = origin;
CREATE INDEX facts_charged ON facts (charged);
CREATE INDEX frame_conflicts_peer ON frame_conflicts (link_peer);
CREATE INDEX proposals_asked ON proposals (requester) WHERE own = 1 AND status = 'awaiting_approval';
