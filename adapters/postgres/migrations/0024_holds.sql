-- Templates that a provider takes no messages of for now: theirs wait, and no others.
CREATE TABLE template_stops (
    provider text NOT NULL,
    account text NOT NULL,
    name text NOT NULL,
    language text NOT NULL DEFAULT '',
    code text NOT NULL,                         -- the provider's own, as text
    error text NOT NULL,
    until timestamptz NOT NULL,                 -- then one of its messages finds out whether it is back
    stopped_at timestamptz NOT NULL,
    PRIMARY KEY (provider, account, name, language)
);

-- What was found out of a message that may have been sent.
ALTER TABLE messages ADD COLUMN looks int NOT NULL DEFAULT 0;   -- how often its provider was asked
ALTER TABLE messages ADD COLUMN looked_at timestamptz;
ALTER TABLE messages ADD COLUMN evidence jsonb;                 -- the last look: at, found, text
