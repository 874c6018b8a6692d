-- Readings that are private: none is offered to peers. Bit 4 of a frame's flags says that its origin marked it, bit 8
-- that it is this node's own and of before what it tells of was private.
ALTER TABLE facts ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
CREATE INDEX frames_private ON frames (link_peer) WHERE flags & 4;
