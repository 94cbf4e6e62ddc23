-- Whether a number is on WhatsApp, by the evidence that counts. No row, or an expired one: not known.
CREATE TABLE whatsapp_checks (
    phone text PRIMARY KEY,               -- E.164; every notation of a line has a row of its own
    has_whatsapp boolean NOT NULL,
    source text NOT NULL CHECK (source IN ('offline', 'cgb', 'whapi', 'message', 'delivery')),
    checked_at timestamptz NOT NULL,      -- of the evidence, not of the row
    expires_at timestamptz NOT NULL
);
