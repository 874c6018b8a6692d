-- What each device has in the frame log. `share` names who pays for a frame: 0 is this node itself, a
-- positive number the device that is proven to have made it, a negative one the device that brought
-- what nobody can prove. `horizon` is the newest time of the frames that were pruned from a share to
-- make room: what is as old is not taken again. The log has gaps where such frames were.
ALTER TABLE frames ADD COLUMN share INTEGER GENERATED ALWAYS AS (
    CASE WHEN link_peer IS NULL THEN 0 WHEN signature >= 2 THEN -link_peer ELSE origin END) VIRTUAL;
CREATE INDEX frames_share ON frames (share, time);

-- `bytes` counts 400 for what a frame takes beside its text.
CREATE TABLE frame_shares (
    share   INTEGER PRIMARY KEY,
    frames  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    horizon INTEGER
);
INSERT INTO frame_shares (share, frames, bytes)
SELECT share, count(*), sum(octet_length(json) + 400) FROM frames GROUP BY share;

CREATE TRIGGER frames_share_more AFTER INSERT ON frames
BEGIN
    INSERT INTO frame_shares (share, frames, bytes) VALUES (NEW.share, 1, octet_length(NEW.json) + 400)
    ON CONFLICT (share) DO UPDATE SET frames = frames + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER frames_share_less AFTER DELETE ON frames
BEGIN
    UPDATE frame_shares SET frames = frames - 1, bytes = bytes - octet_length(OLD.json) - 400
    WHERE share = OLD.share;
END;
CREATE TRIGGER frames_share_other AFTER UPDATE OF json, signature, link_peer, origin ON frames
BEGIN
    UPDATE frame_shares SET frames = frames - 1, bytes = bytes - octet_length(OLD.json) - 400
    WHERE share = OLD.share;
    INSERT INTO frame_shares (share, frames, bytes) VALUES (NEW.share, 1, octet_length(NEW.json) + 400)
    ON CONFLICT (share) DO UPDATE SET frames = frames + 1, bytes = bytes + excluded.bytes;
END;
