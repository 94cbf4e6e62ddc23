-- One person, one contact: contacts that turn out to be one person's are merged, and a merge can be undone.

-- The older contact stays. The other one keeps its row: its id still finds the person, and undoing needs what it said.
ALTER TABLE contacts
    ADD COLUMN merged_into uuid REFERENCES contacts (id) ON DELETE CASCADE,
    ADD COLUMN stayed_as jsonb,                             -- of a merged one: the row of the other before the merge
    ADD COLUMN apart_from uuid[] NOT NULL DEFAULT '{}',     -- an operator has said that these are other people
    ADD COLUMN words tsvector NOT NULL DEFAULT '';          -- of the name, in lower case: to search by
CREATE INDEX contacts_merged_into ON contacts (merged_into) WHERE merged_into IS NOT NULL;

UPDATE contacts SET words = array_to_tsvector(array_remove(regexp_split_to_array(lower(left(name, 200)), '\s+'), ''))
WHERE name IS NOT NULL;
CREATE INDEX contacts_words ON contacts USING gin (words);

-- The audit log names the identities that a merge has moved by number, as it holds no value of a person.
ALTER TABLE contact_identities ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY UNIQUE;

-- An e-mail address is evidence and no proof of who somebody is: several contacts may have it. The kind 'email' of
-- contact_identities, where one contact alone could, is only written by processes of before this file.
CREATE TABLE contact_emails (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    email text NOT NULL,                                    -- in lower case
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (contact_id, email)
);
CREATE INDEX contact_emails_email ON contact_emails (email);

INSERT INTO contact_emails (contact_id, email, created_at)
SELECT contact_id, value, created_at FROM contact_identities WHERE kind = 'email' ORDER BY created_at;
DELETE FROM contact_identities WHERE kind = 'email';
