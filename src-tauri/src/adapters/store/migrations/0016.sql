-- Frame ids that begin with their frame's time are stored as 16 bytes and have an index of their own, which
-- grows at its end; the others stay text, in the index by their hash. Frames that are here stay as they are.
DROP INDEX frames_key;
CREATE INDEX frames_key ON frames (frame_key) WHERE typeof(frame_id) = 'text';
CREATE INDEX frames_id ON frames (frame_id) WHERE typeof(frame_id) = 'blob';
