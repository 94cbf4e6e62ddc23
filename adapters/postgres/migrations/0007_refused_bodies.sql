-- A request that is authentic and refused is kept whole, so that it can be sent again after mending; and a request at a
-- path that is not served leaves a row.

ALTER TABLE refused_requests
    ADD COLUMN path text,                  -- as it was asked for, of a path or a method that is not served
    ADD COLUMN body bytea,                 -- the whole body, where the sender was proven; else its length and hash alone
    ADD COLUMN sent_again_at timestamptz,
    ADD COLUMN sent_again_by text,         -- the operator who sent it again
    ADD COLUMN event_ids text[];           -- the events that it became then

CREATE INDEX refused_requests_kept ON refused_requests (id) WHERE body IS NOT NULL AND sent_again_at IS NULL;
