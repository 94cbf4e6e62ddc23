-- A report about an applicant that no order named is looked at again when one does.

ALTER TABLE applicant_issues ADD COLUMN sent_again int NOT NULL DEFAULT 0;    -- how often this report was

-- Those that may be looked at again: without its text a report cannot be.
CREATE INDEX applicant_issues_without_order ON applicant_issues (applicant_id)
    WHERE raw_body <> '' AND (status = 'skipped' AND reason = 'unknown applicant' OR status = 'waiting' AND sent_again > 0);
