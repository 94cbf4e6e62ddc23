-- An order that comes again changed is an update: its row is its newest state, and what changed is in the audit log.

ALTER TABLE orders
    ADD COLUMN event_id text,             -- of the webhook that brought this state; NULL: a row of before this column
    ADD COLUMN form_revision int;         -- meta.revision: tells states apart whose form has one time of change

-- What people and the daemon changed. It names what was changed and holds no value of a person.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,                  -- the operator, or "ferryman"
    action text NOT NULL,
    subject text NOT NULL,                -- kind:id of what was changed, as order:IL310214IN7
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_at ON audit_log (at);

-- Where an order stands among those of its person, from new to old; a canceled one comes after all others.
CREATE INDEX orders_of_a_phone ON orders (
    client_phone_e164, (COALESCE(lower(order_status), '') = 'canceled'), ordered_at DESC, webhook_received_at DESC,
    order_id COLLATE "C" DESC);
DROP INDEX idx_orders_client_phone_e164;

-- What the directory's contact of a phone was given last: where nothing else is wanted now, nothing is asked.
ALTER TABLE contact_identities
    ADD COLUMN cgb_contact_id text,
    ADD COLUMN cgb_digest bytea;          -- NULL: not known
