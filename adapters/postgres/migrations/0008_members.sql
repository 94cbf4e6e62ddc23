-- What each process says of itself, a few times a minute while it lives. A process that stops takes its row away; that of
-- a killed one is no longer renewed.
CREATE TABLE members (
    id text PRIMARY KEY,                   -- its name in the table of leases
    report jsonb NOT NULL,                 -- daemon/telemetry/report.py; it holds no secret
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- Every failed attempt of an open event, also one that cost none because the channel answered nothing else either.
ALTER TABLE attempts
    ADD COLUMN failures int NOT NULL DEFAULT 0,
    ADD COLUMN error_code text NOT NULL DEFAULT '';  -- our own name of the last error
