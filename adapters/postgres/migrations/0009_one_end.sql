-- One end of an event for each worker, whatever partitions its copies came by. The key of the whole inbox had to contain
-- the time of the end, and so forbade nothing; the key of each day does not. Of two ends of a day the first one stays.
-- Table by table, and each one is locked until the end: on a large inbox this takes minutes.
ALTER TABLE inbox DROP CONSTRAINT inbox_pkey;
DO $$
DECLARE
    day regclass;
BEGIN
    FOR day IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = to_regclass('inbox') LOOP
        EXECUTE format(
            'DELETE FROM %s later USING (
                SELECT event_id, worker, replay_id, min(at) AS at, count(*) FROM %s
                GROUP BY event_id, worker, replay_id HAVING count(*) > 1) first
            WHERE later.event_id = first.event_id AND later.worker = first.worker
                AND later.replay_id = first.replay_id AND later.at > first.at',
            day, day);
        EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (event_id, worker, replay_id)', day);
    END LOOP;
END $$;
