-- What the contact directory (CGB) tells of its contacts, beside what orders say.

-- What it has told last of each field of a phone line's contact, where that was not what we had given it.
CREATE TABLE told_fields (
    line text NOT NULL,                                     -- the phone line: one for all its notations
    field text NOT NULL,
    value text NOT NULL,                                    -- in the directory's own encoding; '': it is empty there
    told_at timestamptz NOT NULL,                           -- when it was so there
    event_id text NOT NULL,
    ours text,                                              -- what the contact was to hold then; NULL: nothing
    owner text NOT NULL CHECK (owner IN ('orders', 'cgb', 'newest')),
    taken boolean NOT NULL,                                 -- whether it went before what the orders say
    PRIMARY KEY (line, field)
);

-- Whoever learns that a contact may hold something else than it was given, leaves a mark. A sync that had looked before
-- the mark does not say, afterwards, that it knows what the contact holds.
CREATE SEQUENCE cgb_doubts;
ALTER TABLE contact_identities
    ADD COLUMN cgb_doubt bigint NOT NULL DEFAULT 0,
    ADD COLUMN cgb_own text[],                              -- what we have written last, as marks: to know it again
    ADD COLUMN cgb_seen_at timestamptz;                     -- when the contact was last looked at or written
