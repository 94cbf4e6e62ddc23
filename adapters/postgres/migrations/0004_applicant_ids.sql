-- An applicant issue names the applicant by id: jsonb_path_query_array(applicants_data, '$[*].id') @> '["apl_…"]'.
-- The index of everything that applicants tell cost several times as much with every change of an order's state.

CREATE INDEX idx_orders_applicant_ids ON orders
    USING gin (jsonb_path_query_array(applicants_data, '$[*].id') jsonb_path_ops);

DROP INDEX idx_orders_applicants_data;
