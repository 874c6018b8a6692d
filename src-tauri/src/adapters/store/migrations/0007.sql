-- Devices whose operator records count here. A record of another device lets nobody approve at this
-- executor until a person here has accepted its issuer. `carried` marks an issuer that no person has
-- accepted: its operators had decided here before acceptance was asked for.
CREATE TABLE operator_issuers (
    device_id   TEXT    PRIMARY KEY,
    accepted_at INTEGER NOT NULL,
    carried     INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO operator_issuers (device_id, accepted_at, carried)
SELECT DISTINCT json_extract(o.json, '$.record.issuer'), 0, 1
FROM operators o JOIN approvals a ON a.operator_id = o.operator_id
WHERE o.json IS NOT NULL AND o.revocation IS NULL;

-- Persons whose every key was ended here: another issuer's record of a further key of theirs, known or
-- yet to come, does not let them go on. `name` is the name as it is compared.
CREATE TABLE persons_ended (
    name     TEXT    PRIMARY KEY,
    ended_at INTEGER NOT NULL
) WITHOUT ROWID;
