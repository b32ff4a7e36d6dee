-- What must hold for every object of the extension, whichever file it is from.
SELECT plan(29);

-- Objects people see: no leading underscore, no day's partition.
CREATE TEMP VIEW public_relation AS
    SELECT c.oid, c.relname, c.relkind, c.relpersistence FROM pg_class c
    WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p', 'v')
      AND c.relname NOT LIKE '\_%' AND NOT c.relispartition;

SELECT is_empty(
    $$SELECT relname FROM public_relation WHERE obj_description(oid, 'pg_class') IS NULL$$,
    'every table and view has a comment');
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc p
      WHERE p.pronamespace = 'notify'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL$$,
    'every function has a comment');
SELECT is_empty(
    $$SELECT t.typname FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
      WHERE t.typnamespace = 'notify'::regnamespace AND t.typname NOT LIKE '\_%'
        AND (t.typtype IN ('e', 'd') OR c.relkind = 'c') AND obj_description(t.oid, 'pg_type') IS NULL$$,
    'every type has a comment');

SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc p
      WHERE p.pronamespace = 'notify'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
        AND p.oid NOT IN ('notify.capture()'::regprocedure, 'notify._sync_recipient()'::regprocedure)$$,
    'PUBLIC may execute nothing but the row triggers, which making a partition asks for');
SELECT is_empty(
    $$SELECT relname FROM public_relation
      WHERE has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')$$,
    'PUBLIC may read and write nothing');
SELECT ok(NOT has_schema_privilege('public', 'notify', 'USAGE, CREATE'), 'PUBLIC may not even look into the schema');
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc p
      WHERE p.pronamespace = 'notify'::regnamespace AND p.prosecdef
        AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'))$$,
    'every function with its definer''s rights pins search_path');
SELECT is_empty(
    $$SELECT relname FROM pg_class
      WHERE relnamespace = 'notify'::regnamespace AND relkind IN ('r', 'p', 'i', 'S') AND relpersistence <> 'p'$$,
    'nothing is unlogged');
SELECT is_empty(
    $$SELECT c.oid::regclass FROM pg_class c
      WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'a', 'i'))$$,
    'everything, today''s partitions too, belongs to the extension');

SELECT has_pk('notify', t, t || ' has a primary key')
FROM unnest(ARRAY['source', 'category', 'rule', 'rule_step', 'budget', 'spent', 'template', 'provider', 'recipient', 'address', 'secret',
                  'ready', 'scheduled', 'inbox', 'idempotency']) AS t;

SELECT is_empty(
    $$SELECT r FROM unnest(ARRAY['notify_admin', 'notify_app', 'notify_report']) AS r
      WHERE has_column_privilege(r, 'notify.secret', 'value', 'SELECT')$$,
    'only the worker reads secrets');
SELECT results_eq(
    $$SELECT rolcanlogin, rolsuper, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'notify_worker'$$,
    $$VALUES (true, false, false, false, false)$$,
    'the worker can log in and is nobody special');
SELECT is_empty(
    $$SELECT r.rolname FROM pg_authid r WHERE r.rolname LIKE 'notify\_%' AND r.rolpassword IS NOT NULL$$,
    'no role of ours has a password');
SELECT is_empty(
    $$SELECT t FROM pg_extension e, unnest(e.extconfig) AS t
      WHERE e.extname = 'notify_pg'
        AND t = ANY ('{notify.secret,notify.event,notify.message,notify.outcome,notify.ready,notify.scheduled,notify.inbox}'::regclass[])$$,
    'secrets, logs and the queue are in no dump');

-- Who gets another id keeps everything: what refers to a recipient follows, or notify._rename_person() sees to it.
SELECT is_empty(
    $$SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'recipient'
      WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname NOT IN ('source', 'rule', 'rule_version', 'event', 'message', 'inbox', 'erasure')
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conkey[1] = a.attnum
                          AND k.confrelid = 'notify.recipient'::regclass AND k.confupdtype = 'c')$$,
    'what belongs to a recipient follows a change of id');

SELECT * FROM finish();
