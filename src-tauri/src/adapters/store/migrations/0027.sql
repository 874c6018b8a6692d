-- Which process of a gateway a run was asked of: it alone knows the run by its key.
ALTER TABLE message_runs ADD COLUMN process TEXT;
