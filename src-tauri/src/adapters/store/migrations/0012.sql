-- Whose events push out whose: each room of the log keeps its newest, counted by `nth`.
ALTER TABLE events ADD COLUMN room TEXT NOT NULL DEFAULT 'own';
ALTER TABLE events ADD COLUMN nth INTEGER NOT NULL DEFAULT 0;
UPDATE events SET nth = seq;
CREATE UNIQUE INDEX events_room ON events (room, nth);
