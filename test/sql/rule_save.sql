-- A user's mistake is refused when it is saved, with SQLSTATE, detail, hint and position.
\set SHOW_CONTEXT never
CREATE SCHEMA rule_save;
SET search_path = rule_save, public;
CREATE TABLE orders (id bigint PRIMARY KEY, customer text, status text, total numeric);
CREATE TABLE loose (a int, b int);
CREATE VIEW glance AS SELECT * FROM orders;
CREATE ROLE regress_notify_clerk;
CREATE ROLE regress_notify_admin;
GRANT notify_admin TO regress_notify_admin;
GRANT USAGE ON SCHEMA rule_save TO regress_notify_admin, regress_notify_clerk;
GRANT SELECT ON orders TO regress_notify_admin;

-- attach
SELECT notify.attach('glance');
SELECT notify.attach('orders', recipient => 'new.custmer');
SELECT notify.attach('orders', recipient => 'new.status = ''x''');
SELECT notify.attach('orders', key => '{nr}');
SELECT notify.attach('orders', columns => '{id,-total}');
SELECT notify.attach('orders', columns => '{-totl}');
SELECT notify.attach('loose');
SELECT relation, key, columns, enabled FROM notify.source WHERE relation = 'loose'::regclass;
SELECT notify.detach('loose');
SELECT notify.detach('loose');
SELECT notify.attach('orders', recipient => 'new.customer');
SELECT relation, recipient, key, search_path, problem FROM notify.source WHERE relation = 'orders'::regclass;

-- categories, templates, providers, recipients, addresses
INSERT INTO notify.category (name, class) VALUES ('rs', 'urgent');
INSERT INTO notify.category (name, class, channels) VALUES ('rs', 'critical', '{inbox,fax}');
INSERT INTO notify.category (name, class, channels) VALUES ('rs', 'critical', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('rs', 'fax', 'x');
INSERT INTO notify.template (name, channel, body) VALUES ('rs', 'email', 'x');
INSERT INTO notify.template (name, channel, subject, body) VALUES ('rs', 'email', E'Hello\r\nBcc: x@y.example', 'x');
INSERT INTO notify.template (name, channel) VALUES ('rs', 'inbox');
INSERT INTO notify.template (name, channel, body, html) VALUES ('rs', 'inbox', 'x', '<p>');
\set VERBOSITY terse
INSERT INTO notify.template (name, channel, locale, body) VALUES ('rs', 'inbox', 'zh CN', 'x');
INSERT INTO notify.template (name, channel, provider_template) VALUES ('rs', 'sms', '["SMS_1"]');
INSERT INTO notify.template (name, channel, provider_template) VALUES ('rs', 'sms', '{"id": "SMS_1", "parameters": ["ok", {"code": "{{ code"}]}');
INSERT INTO notify.template (name, channel, body, provider_template) VALUES ('rs', 'inbox', 'x', '{"id": "SMS_1"}');
INSERT INTO notify.template (name, channel, provider_template) VALUES ('rs', 'sms', '{"id": "SMS_1", "parameters": {"code": "{{ code }}"}}');
SELECT body, provider_template FROM notify.template_version WHERE name = 'rs';
DELETE FROM notify.template WHERE name = 'rs';
\set VERBOSITY default
INSERT INTO notify.template (name, channel, body) VALUES ('rs', 'inbox', 'Hello {{ recipient.name }');
INSERT INTO notify.template (name, channel, body) VALUES ('rs', 'inbox', 'Hello {% if x %}');
INSERT INTO notify.template (name, channel, body) VALUES ('rs', 'inbox', 'Hello {{ recipient.name }}');
INSERT INTO notify.provider (name, channel, preset) VALUES ('rs', 'inbox', 'smtp');
INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('rs', 'webhook', 'webhook', '{"url": "htp://x"}');
INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('rs', 'webhook', 'webhook', '{"url": "https://"}');
INSERT INTO notify.recipient (id, time_zone) VALUES ('rs1', 'Mars/Base');
INSERT INTO notify.recipient (id, locale) VALUES ('rs1', 'zh CN');
INSERT INTO notify.recipient (id) VALUES ('rs1');
INSERT INTO notify.address (recipient, channel, address) VALUES ('rs1', 'email', 'not an address');
INSERT INTO notify.address (recipient, channel, address) VALUES ('rs1', 'email', E'a@b.example\r\nBcc: c@d.example');
INSERT INTO notify.address (recipient, channel, address) VALUES ('rs1', 'webhook', 'ftp://x/y');
INSERT INTO notify.address (recipient, channel, address) VALUES ('rs1', 'fax', '123');

-- rules: what they name
INSERT INTO notify.rule (name, template, category) VALUES ('r', 'rs', 'rs');
INSERT INTO notify.rule (name, source, event_type, template, category) VALUES ('r', 'orders', 'e', 'rs', 'rs');
INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'loose', 'rs', 'rs');
INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'orders', 'nope', 'rs');
INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'orders', 'rs', 'nope');
INSERT INTO notify.rule (name, source, template, category, channels) VALUES ('r', 'orders', 'rs', 'rs', '{inbox,fax}');
INSERT INTO notify.rule (name, source, template, category, ops) VALUES ('r', 'orders', 'rs', 'rs', '{upsert}');
\set VERBOSITY terse
INSERT INTO notify.rule (name, source, template, category, priority) VALUES ('r', 'orders', 'rs', 'rs', 9);
\set VERBOSITY default
INSERT INTO notify.rule (name, source, action) VALUES ('r', 'orders', 'cancel');

-- rules: their SQL
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('r', 'orders', 'rs', 'rs', 'new.stats = ''shipped''');
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('r', 'orders', 'rs', 'rs', 'new.total > ''a lot''');
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('r', 'orders', 'rs', 'rs', 'new.total');
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('r', 'orders', 'rs', 'rs', 'new.id = 1 FROM pg_class');
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('r', 'orders', 'rs', 'rs', 'EXISTS (SELECT 1)');
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('r', 'orders', 'rs', 'rs', 'new.id = ');
INSERT INTO notify.rule (name, source, template, category, recipient) VALUES ('r', 'orders', 'rs', 'rs', 'now()');
INSERT INTO notify.rule (name, source, template, category, dedupe_key) VALUES ('r', 'orders', 'rs', 'rs', 'new');
INSERT INTO notify.rule (name, source, template, category, audience) VALUES ('r', 'orders', 'rs', 'rs', 'SELECT customer FROM orders WHERE id = new.id');
INSERT INTO notify.rule (name, source, template, category, audience) VALUES ('r', 'orders', 'rs', 'rs', 'SELECT customer AS recipient FROM orders WHERE id = new.idd');
INSERT INTO notify.rule (name, source, template, category, context) VALUES ('r', 'orders', 'rs', 'rs', 'SELECT 1) AS x; DELETE FROM orders; --');
INSERT INTO notify.rule (name, source, template, category, context) VALUES ('r', 'orders', 'rs', 'rs', 'DELETE FROM orders RETURNING id');
INSERT INTO notify.rule (name, source, template, category, context) VALUES ('r', 'orders', 'rs', 'rs', 'SELECT * FROM orders FOR UPDATE');
INSERT INTO notify.rule (name, source, template, category, context) VALUES ('r', 'orders', 'rs', 'rs', 'SELECT 1 AS a -- fine');
SELECT name, mode, owner = current_user::regrole AS own, search_path, problem FROM notify.rule;

-- every save that matters is a version; switching off is not
SELECT version AS v1 FROM notify.rule WHERE name = 'r' \gset
UPDATE notify.rule SET enabled = false WHERE name = 'r';
SELECT version = :v1 AS same FROM notify.rule WHERE name = 'r';
UPDATE notify.rule SET condition = 'new.total / new.id > 3', enabled = true WHERE name = 'r';
SELECT version > :v1 AS newer, mode FROM notify.rule WHERE name = 'r';
UPDATE notify.rule SET version = :v1 WHERE name = 'r';
SELECT version > :v1 AS kept FROM notify.rule WHERE name = 'r';
SELECT count(*) FROM notify.rule_version WHERE name = 'r';
UPDATE notify.rule SET condition = 'new.nothing' WHERE name = 'r';

-- whose rights
SET ROLE regress_notify_admin;
INSERT INTO notify.rule (name, source, template, category) VALUES ('mine', 'orders', 'rs', 'rs');
RESET ROLE;
GRANT TRIGGER ON orders TO regress_notify_admin;
SET ROLE regress_notify_admin;
INSERT INTO notify.rule (name, source, template, category, owner) VALUES ('mine', 'orders', 'rs', 'rs', 'postgres');
INSERT INTO notify.rule (name, source, template, category) VALUES ('mine', 'orders', 'rs', 'rs');
UPDATE notify.rule SET owner = 'postgres' WHERE name = 'mine';
INSERT INTO notify.rule (name, source, template, category, context) VALUES ('peek', 'orders', 'rs', 'rs', 'SELECT * FROM loose');
-- a version cannot be forged, nor restored by anyone but a superuser
INSERT INTO notify.rule (name, source, template, category, version) VALUES ('forged', 'orders', 'rs', 'rs', 1);
SELECT version > 1 AS own_version FROM notify.rule WHERE name = 'forged';
INSERT INTO notify.rule_version (id, rule, name, action, owner, search_path) VALUES (-1, 1, 'x', 'notify', 'postgres', '');
CREATE TEMP TABLE fake AS SELECT * FROM notify.rule WHERE false;
CREATE TRIGGER forge AFTER INSERT ON fake FOR EACH ROW EXECUTE FUNCTION notify._save_rule_version();
-- nor by who looks like a restore: what it brings is its own, on tables it may see
SET check_function_bodies = off;
SET row_security = off;
INSERT INTO notify.rule (name, source, template, category, owner, search_path, version, condition)
VALUES ('pretends', 'orders', 'rs', 'rs', 'postgres', '', 1, 'new.nothing');
SELECT owner, version > 1 AS own_version, problem FROM notify.rule WHERE name = 'pretends';
INSERT INTO notify.rule (name, source, template, category, owner, search_path, version) VALUES ('pries', 'loose', 'rs', 'rs', 'postgres', '', 1);
INSERT INTO notify.source (relation, recipient, owner, search_path) VALUES ('loose', 'new.a', 'postgres', '');
INSERT INTO notify.rule_version (id, rule, name, action, owner, search_path) VALUES (-1, 1, 'x', 'notify', 'postgres', '');
SELECT count(*) FROM notify.rule_version WHERE id = -1;
RESET check_function_bodies;
RESET row_security;
DELETE FROM notify.rule WHERE name = 'pretends';
-- nor by setting the sequence back to a version of another
\set VERBOSITY sqlstate
SELECT setval('notify.rule_version_id_seq', r.version, false) > 0 AS back FROM notify.rule r WHERE name = 'r';
INSERT INTO notify.rule (name, id, source, template, category) SELECT 'usurps', id + 1000, 'orders', 'rs', 'rs' FROM notify.rule WHERE name = 'r';
SELECT setval('notify.rule_version_id_seq', max(v.id)) > 0 AS forth FROM notify.rule_version v;
SELECT setval('notify.template_version_id_seq', t.version, false) > 0 AS back FROM notify.template t WHERE name = 'rs';
INSERT INTO notify.template (name, channel, body) VALUES ('usurps', 'inbox', 'x');
SELECT setval('notify.template_version_id_seq', max(v.id)) > 0 AS forth FROM notify.template_version v;
\set VERBOSITY default
SELECT notify._check_expression('orders', 'true', 'condition', 'postgres', '');
SELECT notify._check_query('orders', 'SELECT 1', 'context', 'postgres', '');
RESET ROLE;
-- nor may anybody's trigger lend what writes versions
CREATE TEMP TABLE fake2 AS SELECT * FROM notify.rule WHERE false;
CREATE TRIGGER forge AFTER INSERT ON fake2 FOR EACH ROW EXECUTE FUNCTION notify._save_rule_version();
INSERT INTO fake2 (name, version, id, action, owner, search_path) VALUES ('forged', -1, 1, 'notify', 'postgres', '');
-- a superuser's rights are not lent to a table that another could change
ALTER TABLE loose OWNER TO regress_notify_admin;
SELECT notify.attach('loose', recipient => 'new.a + 1');
SELECT notify.attach('loose');
INSERT INTO notify.rule (name, source, template, category, recipient) VALUES ('lent', 'loose', 'rs', 'rs', 'new.a + 1');
INSERT INTO notify.rule (name, source, template, category, audience) VALUES ('lent', 'loose', 'rs', 'rs', 'SELECT new.a AS recipient');
-- ... but for what runs with the writer's rights, none are lent
SELECT notify.attach('loose', recipient => 'new.a');
SELECT notify.detach('loose');
SET ROLE regress_notify_admin;
-- anyone who may configure can switch another's rule off; it stays the other's
UPDATE notify.rule SET enabled = false, priority = 3 WHERE name = 'r';
SELECT name, owner = 'regress_notify_admin'::regrole AS taken FROM notify.rule WHERE name = 'r';
-- editing another's rule makes it the editor's
UPDATE notify.rule SET condition = 'new.id > 7' WHERE name = 'r';
SELECT name, owner FROM notify.rule ORDER BY name;
-- what is captured of a table is said by those with rights on it
RESET ROLE;
REVOKE TRIGGER ON orders FROM regress_notify_admin;
SET ROLE regress_notify_admin;
UPDATE notify.source SET columns = NULL, recipient = 'new.status';
RESET ROLE;
GRANT TRIGGER ON orders TO regress_notify_admin;
SET ROLE regress_notify_admin;
-- secrets are written, never read
INSERT INTO notify.secret VALUES ('rs', 'hush');
SELECT name FROM notify.secret;
SELECT value FROM notify.secret;
SELECT * FROM notify._providers();
RESET ROLE;
SET ROLE regress_notify_clerk;
SELECT * FROM notify.rule;
SELECT notify.emit('x', 'y', '{}');
RESET ROLE;
-- a rule's function runs with settings of its own: they end with it
CREATE FUNCTION meddle() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', 'pg_temp', false);
	RETURN true;
END $$;
INSERT INTO notify.rule (name, source, template, category, condition) VALUES ('meddler', 'orders', 'rs', 'rs', 'meddle()');
INSERT INTO orders VALUES (1, 'rs1', 'x', 1);
SHOW search_path;

DELETE FROM notify.rule;
SELECT notify.detach('orders');
DELETE FROM notify.secret WHERE name = 'rs';
DELETE FROM notify.recipient;
DELETE FROM notify.template;
DELETE FROM notify.category;
DROP SCHEMA rule_save CASCADE;
DROP OWNED BY regress_notify_admin, regress_notify_clerk;
DROP ROLE regress_notify_clerk, regress_notify_admin;
