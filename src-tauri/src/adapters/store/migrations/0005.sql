-- Offering actuators is a grant of its own. Devices that were trusted as a field node (they observe,
-- relay, read and stop, but neither plan nor speak for persons) keep what they could do.
UPDATE trust
SET json = json_insert(json, '$.grants[#]', 'actuate')
WHERE EXISTS (SELECT 1 FROM json_each(trust.json, '$.grants') WHERE value LIKE 'observe:%')
  AND EXISTS (SELECT 1 FROM json_each(trust.json, '$.grants') WHERE value = 'relay')
  AND EXISTS (SELECT 1 FROM json_each(trust.json, '$.grants') WHERE value = 'read')
  AND EXISTS (SELECT 1 FROM json_each(trust.json, '$.grants') WHERE value = 'estop')
  AND NOT EXISTS (SELECT 1 FROM json_each(trust.json, '$.grants') WHERE value IN ('plan', 'human'));
