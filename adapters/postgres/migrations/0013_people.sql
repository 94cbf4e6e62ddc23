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

-- The audit log names identities by number, as it holds no value of a person. An e-mail address is evidence and no
-- proof: several contacts may have it. Any other identity belongs to one contact.
ALTER TABLE contact_identities
    DROP CONSTRAINT contact_identities_pkey,
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
CREATE UNIQUE INDEX contact_identities_of_one ON contact_identities (
    kind, value, (CASE WHEN kind = 'email' THEN contact_id ELSE '00000000-0000-0000-0000-000000000000'::uuid END));
