CREATE FUNCTION notify._next_id() RETURNS bigint
    AS 'MODULE_PATHNAME', 'notify_next_id_sql' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._next_id() IS
    'A new id: unix milliseconds in the high bits, a sequence in the low 20; assigns the transaction''s xid first';

CREATE FUNCTION notify.capture() RETURNS trigger
    AS 'MODULE_PATHNAME', 'notify_capture' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify.capture() IS
    'Row trigger of attached tables: writes an event when a rule wants the changed row; created by notify.attach()';

CREATE FUNCTION notify._invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'notify_invalidate' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._invalidate() IS
    'Statement trigger of notify.rule and notify.source: every session forgets the rules it compiled';

CREATE FUNCTION notify._check_expression(relation regclass, expression text, kind text, owner regrole, search_path text)
    RETURNS text
    AS 'MODULE_PATHNAME', 'notify_check_expression' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._check_expression(regclass, text, text, regrole, text) IS
    'Compiles an expression over new and old (jsonb without a relation) as its owner; raises what is wrong with it, or says whether it runs bare or in a subtransaction';

CREATE FUNCTION notify._write_event(op "char", type text, recipient text, key text, data jsonb, cancel_key text, instruction jsonb, match boolean)
    RETURNS bigint
    AS 'MODULE_PATHNAME', 'notify_write_event' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._write_event("char", text, text, text, jsonb, text, jsonb, boolean) IS
    'Writes an event that no table shows, with the verdicts of the rules on its type when match is true; returns its id';
