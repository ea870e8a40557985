-- Entries that record something without a change of state have a kind. What holds now is what the newest of a kind says,
-- and is found without reading the chain. (Damaged metadata has no kind, and is for the audit to find.)
CREATE INDEX entries_kind ON entries (
    feature_id, CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.kind') END, id
);
