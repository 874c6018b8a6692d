-- Which device told of one that nothing proves: the names it may bring are counted against its share.
ALTER TABLE devices ADD COLUMN via TEXT;
CREATE INDEX devices_via ON devices (via) WHERE via NOT NULL;
