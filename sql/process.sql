-- process.sql: the clock, and what the workers are doing.

CREATE FUNCTION notify.now() RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_sql_now';
COMMENT ON FUNCTION notify.now() IS
    'The time schedules go by: the wall clock moved by notify_pg.clock_offset.';

CREATE FUNCTION notify._preloaded() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_sql_preloaded';
COMMENT ON FUNCTION notify._preloaded() IS
    'Whether the server loaded notify_pg at its start (shared_preload_libraries), so that workers run.';

CREATE FUNCTION notify._workers(
    OUT kind text, OUT slot integer, OUT pid integer, OUT database oid, OUT state text,
    OUT started_at timestamptz, OUT generation bigint, OUT loops bigint, OUT last_error text,
    OUT planned bigint, OUT readied bigint, OUT claimed bigint, OUT sent bigint, OUT settled bigint,
    OUT refused bigint, OUT failed bigint, OUT in_flight bigint, OUT max_in_flight bigint,
    OUT claims bigint, OUT settles bigint, OUT plan_us bigint, OUT claim_us bigint, OUT settle_us bigint,
    OUT commit_us bigint, OUT render_us bigint, OUT wire_us bigint, OUT last_error_at timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'notify_sql_workers';
COMMENT ON FUNCTION notify._workers() IS
    'The launcher and this database''s workers, wanted or running: state is waiting (to be started), starting, running or exited; counters grow over restarts.';
