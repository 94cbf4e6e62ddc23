-- What the operator's verbs need: retries of dead letters, and ways to find an event's path quickly.

ALTER TABLE dead_letters
    ADD COLUMN retries int NOT NULL DEFAULT 0,
    ADD COLUMN settled_by text,            -- the operator who retried or discarded it last
    ADD COLUMN edited_at timestamptz;      -- data is no longer what was received; the journal has that

-- A retry goes over the outbox to one worker alone, under the replay id it was buried with.
ALTER TABLE outbox
    ADD COLUMN replayid text NOT NULL DEFAULT '',
    ADD COLUMN target text NOT NULL DEFAULT '';

CREATE INDEX dead_letters_event ON dead_letters (event_id);
CREATE INDEX event_journal_cause ON event_journal (causationid) WHERE causationid <> '';
CREATE INDEX inbox_at ON inbox USING brin (at) WITH (pages_per_range = 16);
