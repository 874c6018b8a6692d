-- Of one origin and id only the best proven content stands: what its origin signed, else what it said over
-- its own link, else what somebody said it said.
DELETE FROM facts WHERE signature > 0 AND EXISTS (
    SELECT 1 FROM frames f JOIN frames b ON b.frame_key = f.frame_key AND b.frame_id = f.frame_id
        AND b.origin = f.origin AND b.signature < f.signature
    WHERE f.seq = facts.frame_seq AND f.content = facts.content);
DELETE FROM frames WHERE signature > 0 AND EXISTS (
    SELECT 1 FROM frames b WHERE b.frame_key = frames.frame_key AND b.frame_id = frames.frame_id
        AND b.origin = frames.origin AND b.signature < frames.signature);
CREATE INDEX frames_presence_proven ON frames (origin, seq) WHERE kind = 'capability_update' AND signature < 2;

-- What whoever answers at an address of a device says, without having proven to be it, has an account of
-- its own: sixteen zeros and the first 48 digits of the device's id. So far it was the device's.
INSERT OR IGNORE INTO devices (device_id)
SELECT DISTINCT '0000000000000000' || substr(d.device_id, 1, 48)
FROM frames f JOIN devices d ON d.id = f.origin WHERE f.signature >= 2 AND f.link_peer = f.origin;
UPDATE frames SET link_peer = (
    SELECT a.id FROM devices d JOIN devices a ON a.device_id = '0000000000000000' || substr(d.device_id, 1, 48)
    WHERE d.id = frames.origin)
WHERE signature >= 2 AND link_peer = origin;
UPDATE facts SET charged = '0000000000000000' || substr(origin, 1, 48) WHERE signature >= 2 AND charged = origin;
