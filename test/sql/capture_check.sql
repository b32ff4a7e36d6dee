--
-- What an expression may be, judged when a rule is saved: refusals with their
-- position, and whether it runs bare or in a subtransaction.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
CREATE SCHEMA capture_check;
SET search_path = capture_check, public;
CREATE TYPE stage AS ENUM ('new', 'paid', 'sent');
CREATE TABLE orders (
	id			integer PRIMARY KEY,
	"Customer Id" text,
	status		text,
	stage		stage,
	total		numeric(10,2),
	placed_on	date,
	placed_at	timestamptz,
	label		varchar(20),
	token		uuid,
	data		jsonb,
	tags		text[],
	weight		double precision,
	dropped		integer,
	small		smallint,
	fixed		char(4)
);
ALTER TABLE orders DROP COLUMN dropped;

CREATE FUNCTION mode(expression text, kind text DEFAULT 'condition', relation regclass DEFAULT 'orders')
RETURNS text LANGUAGE sql
RETURN notify._check_expression(relation, expression, kind, current_user::regrole, current_setting('search_path'));

-- Bare: cannot raise on any row.
SELECT mode(e), e FROM unnest(ARRAY[
	'true',
	$$new.status = 'paid'$$,
	$$new.status = 'paid' AND old.status IS DISTINCT FROM new.status$$,
	$$new."Customer Id" IS NOT NULL$$,
	$$new.total > 100$$,
	$$new.total IS DISTINCT FROM old.total$$,
	$$new.stage = 'paid' OR new.stage > old.stage$$,
	$$new.placed_on < new.placed_at$$,
	$$new.placed_on = current_date$$,
	$$new.placed_at <= now()$$,
	$$new.data ->> 'kind' = 'gift'$$,
	$$new.data -> 'a' -> 0 @> '{"b": 1}'$$,
	$$new.data ? 'x' AND NOT old.data ? 'x'$$,
	$$new.data #>> '{a,b}' IS NOT NULL$$,
	$$new.status LIKE 'pa%'$$,
	$$new.label NOT LIKE '100\%'$$,
	$$new.status IN ('paid', 'sent')$$,
	$$new.status <> ALL (ARRAY['x', new.label])$$,
	$$CASE new.status WHEN 'a' THEN new.id > 1 ELSE false END$$,
	$$coalesce(new.id, 0) > greatest(old.id, 7)$$,
	$$nullif(new.status, 'x') IS NULL$$,
	$$length(trim(new.status)) > 3$$,
	$$new.small = new.id AND new.fixed = 'ab'$$,
	$$new.weight > 1.5$$,
	$$new.status = 'a' COLLATE "C" || new.label$$,
	$$new IS NOT NULL$$
]) WITH ORDINALITY AS t (e, n) ORDER BY n;

-- Not bare: some row could make it raise, or it runs somebody's code.
CREATE FUNCTION is_big(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN $1 > 10; END $$;
CREATE FUNCTION is_small(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 < 10 $$;
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
SELECT mode(e), e FROM unnest(ARRAY[
	$$1 / new.id = 1$$,
	$$new.id + 1 > 5$$,
	$$new.status::integer > 5$$,
	$$(new.data ->> 'n')::numeric > 5$$,
	$$new.status LIKE new.label$$,
	$$new.status ~ '^p'$$,
	$$lower(new.status) = 'paid'$$,
	$$new.tags && ARRAY['x']$$,
	$$old IS DISTINCT FROM new$$,
	$$new."Customer Id" = current_user$$,
	$$new.id::positive > 0$$,
	$$new.placed_at > now() - interval '1 day'$$,
	$$md5(new.status) = 'x'$$,
	$$is_big(new.id)$$
]) WITH ORDINALITY AS t (e, n) ORDER BY n;
-- An inlined SQL function is what it consists of.
SELECT mode('is_small(new.id)');

-- Keys are text, or what is plainly shown as text.
SELECT mode(e, 'dedupe_key'), e FROM unnest(ARRAY[
	$$new.id$$, $$new.total$$, $$new.token$$, $$new.label$$, $$new.fixed$$, $$new.small$$,
	$$'order:' || new.id$$, $$'order:' || new.id || ':' || new.label$$, $$'x'$$, $$NULL$$,
	$$new.status || new.id$$, $$new.data ->> 'k'$$, $$new.stage::text$$
]) WITH ORDINALITY AS t (e, n) ORDER BY n;

-- Refused, each with the position of the fault.
SELECT mode('');
SELECT mode('new.');
SELECT mode($$new.status = $$);
SELECT mode($$new.stauts = 'paid'$$);
SELECT mode($$status = 'paid'$$);
SELECT mode($$new.status = 'paid'; DROP TABLE orders$$);
SELECT mode($$new.id = 1, true$$);
SELECT mode($$true FROM orders$$);
SELECT mode($$true WHERE false$$);
SELECT mode($$true ORDER BY 1$$);
SELECT mode($$true LIMIT 1$$);
SELECT mode($$true AS x$$);
SELECT mode($$DISTINCT true$$);
SELECT mode($$true UNION SELECT true$$);
SELECT mode('*');
SELECT mode('new.*');
SELECT mode('new.id');
SELECT mode($$new.status AND true$$);
SELECT mode($$new.id = 'x'$$);
SELECT mode($$new.status = 7$$);
SELECT mode('new.dropped = 1');
SELECT mode('new.ctid IS NULL');
SELECT mode('old.tableoid = 1');
SELECT mode('EXISTS (SELECT 1)');
SELECT mode('(SELECT true)');
SELECT mode('count(*) > 1');
SELECT mode('generate_series(1, 2) = 1');
SELECT mode('row_number() OVER () = 1');
SELECT mode('no_such_function(new.id)');
SELECT mode('$1');
SELECT mode($$'a' COLLATE "C" < 'b' COLLATE "POSIX"$$);
SELECT mode('new.placed_at', 'recipient');
SELECT mode('new.stage', 'recipient');
SELECT mode('new.data', 'cancel_key');
SELECT mode('new', 'cancel_key');
SELECT mode('true', 'colour');
SELECT notify._check_expression('orders', NULL, 'condition', 'notify_app', '');

-- Emitted events: new and old are jsonb.
SELECT mode(e, 'condition', NULL), e FROM unnest(ARRAY[
	$$new ->> 'a' = 'b'$$, $$new @> '{"a": 1}'$$, $$old IS NULL$$, $$(new ->> 'n')::int > 3$$
]) WITH ORDINALITY AS t (e, n) ORDER BY n;
SELECT mode($$new.status = 'paid'$$, 'condition', NULL);
SELECT mode($$status = 'paid'$$, 'condition', NULL);
SELECT mode($$new$$, 'condition', NULL);
SELECT mode($$new ->> 'a'$$, 'recipient', NULL);

-- Compiled as the owner, under the owner's path with pg_temp last.
CREATE ROLE capture_owner;
REVOKE EXECUTE ON FUNCTION is_big(integer) FROM PUBLIC;
GRANT USAGE ON SCHEMA capture_check TO capture_owner;
SELECT notify._check_expression('orders', 'is_big(new.id)', 'condition', 'capture_owner', 'capture_check');
SELECT notify._check_expression('orders', 'is_big(new.id)', 'condition', current_user::regrole, 'pg_catalog');
SELECT current_user = session_user AS same_user, current_setting('search_path') AS path;
CREATE FUNCTION pg_temp.is_odd(integer) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT notify._check_expression('orders', 'is_odd(new.id)', 'condition', current_user::regrole, 'capture_check');
CREATE TYPE pg_temp.stage AS ENUM ('other');
SELECT notify._check_expression('orders', $$new.status::stage = 'new'$$, 'condition', current_user::regrole, 'capture_check');
SELECT notify._check_expression('orders', $$new.status::stage = 'new'$$, 'condition', current_user::regrole, 'pg_temp, capture_check');

DROP OWNED BY capture_owner;
DROP ROLE capture_owner;
DROP TYPE pg_temp.stage;
DROP SCHEMA capture_check CASCADE;
