-- Accounts at providers whose secrets are kept here instead of in the settings. The secret is encrypted
-- (daemon/stores/seal.py); its key is never in the database.
CREATE TABLE credentials (
    provider text NOT NULL,
    account text NOT NULL,                  -- "default" goes before the account that the settings name
    secret bytea NOT NULL,
    key_id text NOT NULL,                   -- of the key that encrypted it: a digest of a random key tells nothing of it
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,               -- who stored it first; the audit log has every change
    PRIMARY KEY (provider, account)
);
