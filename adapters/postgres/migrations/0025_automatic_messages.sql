-- Messages that the rules of messages.toml ask for, and the newest state of each order that they were asked about.

-- A message's id derives from order, kind and subject: so what was told once is never told again.
CREATE TABLE automatic_messages (
    message_id uuid PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    order_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,                      -- an applicant, a status, a report; "" where it is the order
    rule text NOT NULL,                         -- the name of the rule that asked for it last
    trigger text NOT NULL,                      -- the type of the event that the rule goes by
    withdrawn boolean NOT NULL DEFAULT false,   -- canceled because the order does not want it any more, by no operator
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX automatic_messages_order_id ON automatic_messages (order_id);

-- An older state of an order, however late it arrives, asks for nothing and withdraws nothing.
CREATE TABLE automatic_orders (
    order_id text PRIMARY KEY,
    ordered_at timestamptz NOT NULL,
    form_revision int NOT NULL,
    received_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
