-- Everything of notify_pg in this database, a line an object: its name, a tab,
-- its definition as JSON. Two databases with the same lines have the same extension.
--
-- What it looks at: whatever is a member of the extension or stands in schema
-- notify, with owner, privileges, comment and membership; columns in their
-- order; what pg_dump takes along; privileges as they were installed
-- (pg_init_privs), by which pg_dump knows those a user gave. Day partitions are
-- one object however many there are, their days and ids blanked out; pg_attver is
-- PostgreSQL's own count of changes.
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION pg_temp.blank(name text) RETURNS text
LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(name, '(event|message|outcome|engagement|_)_?[0-9]{8}(?![0-9])', '\1_DAY', 'g'),
						  '''?[0-9]{15,}''?(::bigint)?', 'ID', 'g')
$$;

-- Privileges in an order that says nothing of how they came about.
CREATE FUNCTION pg_temp.acl(given aclitem[], kind "char", owner oid) RETURNS jsonb
LANGUAGE sql AS $$
	SELECT jsonb_agg(a.line ORDER BY a.line COLLATE "C")
	FROM (SELECT format('%s: %s%s by %s', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END,
						x.privilege_type, CASE WHEN x.is_grantable THEN ' with grant option' END,
						pg_get_userbyid(x.grantor)) AS line
		  FROM aclexplode(coalesce(given, acldefault(kind, owner))) AS x) AS a
$$;

CREATE FUNCTION pg_temp.about(class regclass, object oid) RETURNS jsonb
LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object(
		'comment', obj_description(object, class::name),
		'member', EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
						  WHERE d.classid = class AND d.objid = object AND d.refclassid = 'pg_extension'::regclass
							AND d.deptype = 'e' AND e.extname = 'notify_pg'),
		'installed', (SELECT jsonb_object_agg(i.objsubid, (SELECT jsonb_agg(a::text ORDER BY a::text) FROM unnest(i.initprivs) AS a))
					  FROM pg_init_privs i WHERE i.classoid = class AND i.objoid = object)))
$$;

CREATE TEMP TABLE line (name text, definition jsonb);

CREATE TEMP VIEW relation AS
SELECT c.*, pg_temp.blank(c.relname) AS shown
FROM pg_class c
WHERE c.relnamespace = 'notify'::regnamespace
   OR EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
			  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
				AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'notify_pg');

INSERT INTO line
SELECT format('schema %s', n.nspname),
	   pg_temp.about('pg_namespace', n.oid) || jsonb_build_object('owner', n.nspowner::regrole, 'acl', pg_temp.acl(n.nspacl, 'n', n.nspowner))
FROM pg_namespace n WHERE n.nspname = 'notify';

INSERT INTO line
SELECT format('relation %s', r.shown),
	   pg_temp.about('pg_class', r.oid) || jsonb_build_object(
		'kind', r.relkind, 'owner', r.relowner::regrole,
		'acl', CASE WHEN r.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') THEN
			pg_temp.acl(r.relacl, CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner) END,
		'persistence', r.relpersistence, 'options', (SELECT jsonb_agg(o ORDER BY o) FROM unnest(r.reloptions) AS o),
		'toast options', (SELECT to_jsonb(t.reloptions) FROM pg_class t WHERE t.oid = r.reltoastrelid),
		'row security', r.relrowsecurity, 'forced', r.relforcerowsecurity, 'replica identity', r.relreplident,
		'access method', (SELECT a.amname FROM pg_am a WHERE a.oid = r.relam),
		'tablespace', r.reltablespace, 'of type', r.reloftype,
		'partition', pg_temp.blank(pg_get_expr(r.relpartbound, r.oid)), 'partition key', pg_get_partkeydef(r.oid),
		'parents', (SELECT jsonb_agg(i.inhparent::regclass ORDER BY i.inhseqno) FROM pg_inherits i
					WHERE i.inhrelid = r.oid AND r.relkind IN ('r', 'p')),
		'view', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
		'index', CASE WHEN r.relkind IN ('i', 'I') THEN pg_temp.blank(pg_get_indexdef(r.oid)) END,
		'index state', (SELECT format('valid %s, ready %s, live %s, clustered %s, replica identity %s',
									  i.indisvalid, i.indisready, i.indislive, i.indisclustered, i.indisreplident)
						FROM pg_index i WHERE i.indexrelid = r.oid),
		'sequence', (SELECT to_jsonb(s) - 'seqrelid' FROM pg_sequence s WHERE s.seqrelid = r.oid),
		'owned by', (SELECT jsonb_agg(format('%s.%s %s', d.refobjid::regclass, d.refobjsubid, d.deptype)) FROM pg_depend d
					 WHERE r.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = r.oid
					   AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
FROM relation r WHERE r.relkind <> 't';

INSERT INTO line
SELECT format('column %s.%s', r.shown, a.attname),
	   jsonb_build_object('place', row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum),
		'type', format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid),
		'identity', a.attidentity, 'generated', a.attgenerated, 'collation', a.attcollation::regcollation,
		'storage', a.attstorage, 'compression', a.attcompression, 'options', (SELECT jsonb_agg(o ORDER BY o) FROM unnest(a.attoptions) AS o WHERE o !~ '^pg_attver='),
		'statistics', nullif(a.attstattarget, -1), 'acl', CASE WHEN a.attacl IS NOT NULL THEN pg_temp.acl(a.attacl, 'c', r.relowner) END,
		'local', a.attislocal, 'inherited', a.attinhcount, 'comment', col_description(a.attrelid, a.attnum))
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind NOT IN ('i', 'I', 'S', 't');

INSERT INTO line
SELECT format('constraint %s on %s', pg_temp.blank(k.conname), coalesce(r.shown, k.contypid::regtype::text)),
	   pg_temp.about('pg_constraint', k.oid) || jsonb_build_object('definition', pg_temp.blank(pg_get_constraintdef(k.oid)),
		'validated', k.convalidated, 'local', k.conislocal, 'inherited', k.coninhcount, 'no inherit', k.connoinherit)
FROM pg_constraint k LEFT JOIN relation r ON r.oid = k.conrelid
WHERE k.connamespace = 'notify'::regnamespace;

INSERT INTO line
SELECT format('trigger %s on %s', t.tgname, r.shown),
	   pg_temp.about('pg_trigger', t.oid) || jsonb_build_object('definition', pg_temp.blank(pg_get_triggerdef(t.oid)), 'enabled', t.tgenabled)
FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal;

INSERT INTO line
SELECT format('policy %s on %s', p.polname, r.shown),
	   pg_temp.about('pg_policy', p.oid) || jsonb_build_object('command', p.polcmd, 'permissive', p.polpermissive,
		'roles', (SELECT jsonb_agg(CASE x WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x) END ORDER BY x) FROM unnest(p.polroles) AS x),
		'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN relation r ON r.oid = p.polrelid;

INSERT INTO line
SELECT format('function %s', p.oid::regprocedure),
	   pg_temp.about('pg_proc', p.oid) || jsonb_build_object('owner', p.proowner::regrole, 'acl', pg_temp.acl(p.proacl, 'f', p.proowner),
		'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
		'aggregate', (SELECT to_jsonb(a) - 'aggfnoid' FROM pg_aggregate a WHERE a.aggfnoid = p.oid), 'kind', p.prokind)
FROM pg_proc p WHERE p.pronamespace = 'notify'::regnamespace;

INSERT INTO line
SELECT format('type %s', pg_temp.blank(t.typname)),
	   pg_temp.about('pg_type', t.oid) || jsonb_build_object('owner', t.typowner::regrole, 'acl', pg_temp.acl(t.typacl, 'T', t.typowner),
		'kind', t.typtype, 'base', nullif(t.typbasetype, 0)::regtype, 'not null', t.typnotnull, 'default', t.typdefault,
		'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
FROM pg_type t WHERE t.typnamespace = 'notify'::regnamespace;

INSERT INTO line
SELECT format('event trigger %s', e.evtname),
	   pg_temp.about('pg_event_trigger', e.oid) || jsonb_build_object('owner', e.evtowner::regrole, 'event', e.evtevent,
		'function', e.evtfoid::regprocedure, 'enabled', e.evtenabled, 'tags', (SELECT jsonb_agg(x ORDER BY x) FROM unnest(e.evttags) AS x))
FROM pg_event_trigger e WHERE e.evtname ~ '^notify' OR e.evtfoid IN (SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'notify'::regnamespace);

INSERT INTO line
SELECT 'extension', pg_temp.about('pg_extension', e.oid) || jsonb_build_object('version', e.extversion, 'owner', e.extowner::regrole,
		'schema', e.extnamespace::regnamespace, 'relocatable', e.extrelocatable)
FROM pg_extension e WHERE e.extname = 'notify_pg';

INSERT INTO line
SELECT format('dumped %s', t.relation::regclass), jsonb_build_object('condition', t.condition)
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS t (relation, condition) WHERE e.extname = 'notify_pg';

-- Members of kinds that have no query of their own above.
INSERT INTO line
SELECT format('member %s %s', o.type, pg_temp.blank(o.identity)), jsonb_build_object('kind', d.deptype)
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid, pg_identify_object(d.classid, d.objid, d.objsubid) AS o
WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'notify_pg';

INSERT INTO line
SELECT format('default privileges of %s on %s', d.defaclrole::regrole, d.defaclobjtype), to_jsonb(pg_temp.acl(d.defaclacl, d.defaclobjtype, d.defaclrole))
FROM pg_default_acl d WHERE d.defaclnamespace IN (0, 'notify'::regnamespace);

INSERT INTO line
SELECT format('role %s', r.rolname), to_jsonb(r) - '{oid,rolpassword}'::text[] || jsonb_build_object(
		'settings', (SELECT jsonb_agg(s.setconfig) FROM pg_db_role_setting s WHERE s.setrole = r.oid),
		'memberships', (SELECT jsonb_agg(format('%s in %s', m.member::regrole, m.roleid::regrole) ORDER BY 1)
						FROM pg_auth_members m WHERE r.oid = m.member))
FROM pg_roles r WHERE r.rolname IN ('notify_admin', 'notify_app', 'notify_report', 'notify_worker');

SELECT DISTINCT name || E'\t' || definition::text FROM line ORDER BY 1;
