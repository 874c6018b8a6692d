-- Messages to agents, of people and programs of this node: where each stands, and the answer.
CREATE TABLE messages (
    id         TEXT    NOT NULL PRIMARY KEY,
    state      TEXT    NOT NULL,
    priority   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    ended_at   INTEGER,
    source     TEXT    NOT NULL,
    sender     TEXT    NOT NULL,
    key        TEXT,
    place      TEXT    NOT NULL,
    rule       TEXT,
    retry      TEXT    NOT NULL,
    attempts   TEXT    NOT NULL,
    text       TEXT    NOT NULL,
    answer     TEXT,
    why        TEXT
);
CREATE INDEX messages_due ON messages (priority DESC, created_at) WHERE state = 'queued';
CREATE INDEX messages_open ON messages (expires_at) WHERE ended_at IS NULL;
CREATE INDEX messages_ended ON messages (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX messages_newest ON messages (created_at);
CREATE UNIQUE INDEX messages_key ON messages (source, sender, key) WHERE key IS NOT NULL;
-- Runs of agents of this node, for this and other nodes: written before the agent is asked.
CREATE TABLE message_runs (
    device   TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    agent    TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    answer   TEXT,
    why      TEXT,
    PRIMARY KEY (device, id)
);
CREATE INDEX message_runs_open ON message_runs (state) WHERE ended_at IS NULL;
CREATE INDEX message_runs_ended ON message_runs (ended_at) WHERE ended_at IS NOT NULL;
