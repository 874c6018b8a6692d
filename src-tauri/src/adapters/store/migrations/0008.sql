-- A trust record says which protocol its device speaks (`generation`). Records from before that was
-- written down: a device of which a frame with a verified signature is stored has proven that it is
-- of our own kind, since gen-1 nodes sign no frames. A list of features in a hello is no such proof,
-- so what was remembered from those is not used.
UPDATE trust SET json = json_set(json, '$.generation', 'clawmesh')
WHERE json_extract(json, '$.generation') IS NULL
  AND device_id IN (
      SELECT devices.device_id FROM devices
      JOIN frames ON frames.origin = devices.id
      WHERE frames.signature = 0
  );
