-- What a bot remembers of its messages: which button means what, which proposal was told where. Each goes when its time is over.
CREATE TABLE chat_memory (
    bot    TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    json   TEXT    NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (bot, name)
) WITHOUT ROWID;
CREATE INDEX chat_memory_until ON chat_memory (until);
