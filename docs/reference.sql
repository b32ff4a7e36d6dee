-- docs/reference.md, from what COMMENT ON, pg_settings and notify.reason say.
-- Run by docs/generate (make docs) and test/t/900_docs.pl: psql -AtqX -f docs/reference.sql
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
SET client_encoding = 'UTF8';
SET search_path = pg_catalog, pg_temp;
SET quote_all_identifiers = off;
SET client_min_messages = warning;
-- The library defines its settings when it is loaded.
SELECT '' FROM notify.now() AS n WHERE n IS NULL;

-- Text that Markdown and its tables leave as it is.
CREATE FUNCTION pg_temp.md(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT replace(replace(replace(replace(t, '&', '&amp;'), '<', '&lt;'), '|', '\|'), E'\n', ' ');
$$;

-- Defaults without their casts, a long list of arguments on lines of its own.
CREATE FUNCTION pg_temp.plain(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(t, '''::[a-z ]+(\[\])?', '''', 'g');
$$;
CREATE FUNCTION pg_temp.arguments(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN length(t) > 100 THEN E'\n    ' || replace(t, ', ', E',\n    ') ELSE t END
	FROM (SELECT replace(replace(pg_temp.plain(t), 'NULL::text[]', 'NULL'), 'NULL::', 'NULL/')) AS p (u),
		 LATERAL (SELECT regexp_replace(p.u, 'NULL/[a-z ]+(\[\])?', 'NULL', 'g')) AS q (t);
$$;

-- What people see: no leading underscore, no day's partition.
CREATE TEMP VIEW relation AS
	SELECT c.oid, c.relname, c.relkind, obj_description(c.oid, 'pg_class') AS meaning,
		   EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'notify_pg' AND c.oid = ANY (e.extconfig)) AS dumped
	FROM pg_class c
	WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p', 'v')
	  AND c.relname NOT LIKE '\_%' AND NOT c.relispartition;

CREATE TEMP VIEW column_line AS
	SELECT a.attrelid AS relation, a.attnum AS n,
		   format('| `%s` | %s | %s |', a.attname,
				  pg_temp.md(format_type(a.atttypid, a.atttypmod)
							 || CASE WHEN a.attnotnull AND r.relkind <> 'v' THEN ', not null' ELSE '' END
							 || coalesce(', default ' || pg_temp.plain(pg_get_expr(d.adbin, d.adrelid)), '')
							 || CASE WHEN a.attidentity <> '' THEN ', numbered' ELSE '' END),
				  pg_temp.md(coalesce(col_description(a.attrelid, a.attnum), ''))) AS line
	FROM relation r
	JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum;

CREATE FUNCTION pg_temp.relations(kinds "char"[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT E'\n### notify.' || r.relname || E'\n\n' || pg_temp.md(r.meaning)
		   || CASE WHEN r.relkind = 'v' THEN '' WHEN r.dumped THEN ' In dumps.' ELSE ' Not in dumps.' END
		   || coalesce(E'\n\nPrimary key: `' || (
				SELECT string_agg(a.attname, ', ' ORDER BY k.n)
				FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
				JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
				WHERE i.indrelid = r.oid AND i.indisprimary) || '`.', '')
		   || E'\n\n| column | type | meaning |\n|---|---|---|\n'
		   || (SELECT string_agg(l.line, E'\n' ORDER BY l.n) FROM column_line l WHERE l.relation = r.oid)
	FROM relation r WHERE r.relkind = ANY (kinds)
	ORDER BY r.relname COLLATE "C";
$$;

SELECT extversion AS version FROM pg_extension WHERE extname = 'notify_pg' \gset
\qecho '# Reference'
\qecho
\qecho 'Every table, view, function, setting and reason code of notify_pg' :version'. Made by `make docs` from what the database says of itself'
\qecho '(`\\d+ notify.rule`, `\\df+ notify.send`); do not edit. What is here by name is explained in [concepts](concepts.md).'
\qecho
\qecho '[Tables](#tables) · [Views](#views) · [Functions](#functions) · [Types](#types) · [Settings](#settings) · [Reason codes](#reason-codes)'
\qecho
\qecho '## Tables'
SELECT pg_temp.relations('{r,p}');
\qecho
\qecho '## Views'
SELECT pg_temp.relations('{v}');
\qecho
\qecho '## Functions'
SELECT E'\n### notify.' || p.proname || '(' || coalesce((
			SELECT string_agg(n, ', ' ORDER BY i)
			FROM unnest(p.proargnames, coalesce(p.proargmodes, '{}')) WITH ORDINALITY AS a (n, m, i)
			WHERE coalesce(m, 'i') IN ('i', 'b', 'v')), '') || E')\n\n```\n'
	   || 'notify.' || p.proname || '(' || pg_temp.arguments(pg_get_function_arguments(p.oid)) || ')'
	   || coalesce(' → ' || nullif(pg_get_function_result(p.oid), 'record'), '') || E'\n```\n\n'
	   || pg_temp.md(obj_description(p.oid, 'pg_proc'))
FROM pg_proc p
WHERE p.pronamespace = 'notify'::regnamespace AND p.proname NOT LIKE '\_%'
ORDER BY p.proname COLLATE "C", p.pronargs, p.oid::regprocedure::text COLLATE "C";
\qecho
\qecho '## Types'
SELECT E'\n### notify.' || t.typname || E'\n\n' || pg_temp.md(obj_description(t.oid, 'pg_type')) || E'\n\n| field | type |\n|---|---|\n'
	   || (SELECT string_agg(format('| `%s` | %s |', a.attname, format_type(a.atttypid, a.atttypmod)), E'\n' ORDER BY a.attnum)
		   FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
WHERE t.typnamespace = 'notify'::regnamespace AND t.typname NOT LIKE '\_%'
ORDER BY t.typname COLLATE "C";
\qecho
\qecho '## Settings'
\qecho
\qecho 'In `postgresql.conf` or by `ALTER SYSTEM`. "reload" ones hold for the whole cluster after `pg_reload_conf()`; "superuser" ones can also be set'
\qecho 'by a superuser for a session, role or database.'
\qecho
\qecho '| setting | default | from - to | changed by | meaning |'
\qecho '|---|---|---|---|---|'
SELECT format('| `%s` | %s | %s | %s | %s |', s.name, s.boot_val || coalesce(' ' || s.unit, ''),
			  coalesce(s.min_val || ' - ' || s.max_val, coalesce(array_to_string(s.enumvals, ', '), '')),
			  CASE s.context WHEN 'sighup' THEN 'reload' WHEN 'superuser' THEN 'superuser' WHEN 'postmaster' THEN 'restart' ELSE s.context END,
			  pg_temp.md(s.short_desc || coalesce(' ' || s.extra_desc, '')))
FROM pg_settings s WHERE s.name LIKE 'notify\_pg.%'
ORDER BY s.name COLLATE "C";
\qecho
\qecho '## Reason codes'
\qecho
\qecho 'In `message.reason` and `outcome.reason`: why something was not sent, was stopped, or was given up. A query away: `TABLE notify.reason`.'
\qecho
\qecho '| code | verdict | meaning |'
\qecho '|---|---|---|'
SELECT format('| `%s` | %s | %s |', r.code, r.verdict, pg_temp.md(r.meaning)) FROM notify.reason r ORDER BY r.code COLLATE "C";
