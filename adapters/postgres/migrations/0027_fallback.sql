-- Messages that may go by another account in the place of the one that was chosen, while nothing was ever attempted.
ALTER TABLE messages ADD COLUMN route text[];   -- PROVIDER or PROVIDER/ACCOUNT, in order; NULL: only the chosen one
ALTER TABLE messages ADD COLUMN moves jsonb;    -- each move along it: at, from, to, why; NULL: none
