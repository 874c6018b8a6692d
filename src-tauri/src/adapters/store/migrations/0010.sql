-- A frame that carries no signature is another thing to reconciliation than the same one with its
-- origin's signature: bit 2 of `flags` marks those without.
UPDATE frames SET flags = flags | 2
WHERE signature <> 0 AND json_extract(json, '$.sig') IS NULL;
