-- The text of a frame is packed (a blob; see packed.rs); an observation with such a text has the kind 'o' and
-- says its metric here. So one metric over time is found in the index by time, which grows at its end, and
-- frames_series keeps only those whose text is text. Frames that are here stay as they are.
ALTER TABLE frames ADD COLUMN metric TEXT;
DROP INDEX frames_time;
CREATE INDEX frames_time ON frames (time, metric);
