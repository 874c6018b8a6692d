-- What issuers have signed about operators and devices, as it travels between nodes. `id` is kind,
-- subject and issuer, so that a newer statement takes the place of an older one. `json` is the whole
-- signed record; `acted` tells whether this node has let it take effect.
CREATE TABLE records (
    id          TEXT    PRIMARY KEY,
    json        TEXT    NOT NULL,
    issuer      TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    acted       INTEGER NOT NULL
) WITHOUT ROWID;
