-- The newest presence of each device, and one metric over time, without walking the whole log.
CREATE INDEX frames_presence ON frames (origin, seq) WHERE kind = 'capability_update';
CREATE INDEX frames_series ON frames (json_extract(json, '$.data.metric'), time) WHERE kind = 'observation';
