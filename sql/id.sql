/*
 * id.sql
 *		Ids that carry their time, and the partitions they lead to.
 *
 * An id is 64 bits: unix milliseconds << 20 | a sequence's low 20 bits. A log
 * is partitioned by id on UTC day boundaries, so an id alone finds its day.
 * A partition is a member of the extension, so pg_dump leaves the logs alone.
 */
CREATE SEQUENCE notify.id_seq;

COMMENT ON SEQUENCE notify.id_seq IS
'The low 20 bits of every id. Never set it back.';

CREATE FUNCTION notify.id_time(id bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.to_timestamp((id >> 20)::double precision / 1000.0);

COMMENT ON FUNCTION notify.id_time(bigint) IS
'The wall-clock time an id was made, to the millisecond. NULL for NULL.';

CREATE FUNCTION notify.time_id(at timestamptz) RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_time_id';

COMMENT ON FUNCTION notify.time_id(timestamptz) IS
'The lowest id that could be made at this time: compare ids with it to search the logs by time. NULL for NULL; 22008 for infinity and for times no id can carry.';

-- The logs that have daily partitions.
CREATE FUNCTION notify._logs() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['event', 'message', 'outcome'];

COMMENT ON FUNCTION notify._logs() IS 'The partitioned logs. Internal.';

CREATE FUNCTION notify._day_start(day date) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN notify.time_id(day::timestamp AT TIME ZONE 'UTC');

COMMENT ON FUNCTION notify._day_start(date) IS 'The lowest id of a UTC day. Internal.';

/*
 * Makes one day's partition of one log: stand-alone first, with its CHECK,
 * then attached, so that the parent is locked for a moment only. A day whose
 * rows already fell into the default partition stays there.
 */
CREATE FUNCTION notify._make_partition(log text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '20ms'
SET client_min_messages = warning
AS $$
DECLARE
	leaf text := log || '_' || to_char(day, 'YYYYMMDD');
	low bigint := notify._day_start(day);
	high bigint := notify._day_start(day + 1);
	col text := CASE log WHEN 'outcome' THEN 'message' ELSE 'id' END;
	taken boolean;
BEGIN
	IF to_regclass('notify.' || leaf) IS NOT NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM notify.%I WHERE %I >= $1 AND %I < $2)',
				   log || '_default', col, col)
		INTO taken USING low, high;
	IF taken THEN
		RETURN false;
	END IF;
	EXECUTE format('CREATE TABLE notify.%I (LIKE notify.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE, CHECK (%I >= %s AND %I < %s))',
				   leaf, log, col, low, col, high);
	EXECUTE format('ALTER TABLE notify.%I ATTACH PARTITION notify.%I FOR VALUES FROM (%s) TO (%s)',
				   log, leaf, low, high);
	IF NOT EXISTS (SELECT FROM pg_depend
				   WHERE classid = 'pg_class'::regclass
					 AND objid = to_regclass('notify.' || leaf) AND deptype = 'e') THEN
		EXECUTE format('ALTER EXTENSION notify_pg ADD TABLE notify.%I', leaf);
	END IF;
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._make_partition(text, date) IS
'Makes and attaches a log''s partition for a UTC day; false if it is there or the day is in the default partition. Internal.';

-- Today and a week ahead. A lock it cannot have in 20 ms is left for the next call.
CREATE FUNCTION notify._make_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
	made integer := 0;
	log text;
BEGIN
	FOREACH log IN ARRAY notify._logs()
	LOOP
		FOR ahead IN 0..7
		LOOP
			BEGIN
				made := made + notify._make_partition(log, today + ahead)::integer;
			EXCEPTION WHEN lock_not_available THEN
				NULL;
			END;
		END LOOP;
	END LOOP;
	RETURN made;
END
$$;

COMMENT ON FUNCTION notify._make_partitions() IS
'Makes the partitions of today and the seven days after it; returns how many it made. Internal.';

-- The day partitions that exist, oldest first.
CREATE FUNCTION notify._partitions(log text) RETURNS TABLE (leaf text, day date)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.relname::text, to_date(right(c.relname, 8), 'YYYYMMDD')
	FROM pg_inherits i
	JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = to_regclass('notify.' || log)
	  AND c.relname ~ '_[0-9]{8}$'
	ORDER BY 2;
$$;

COMMENT ON FUNCTION notify._partitions(text) IS
'A log''s day partitions, oldest first. Internal.';
