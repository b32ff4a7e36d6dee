--
-- What saving templates and partials checks, how partials bind, and previews.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
\encoding UTF8
\pset format unaligned
\pset tuples_only on
\pset null NULL
\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE SCHEMA saving;
SET search_path = saving, public;
CREATE TABLE parcel (id integer PRIMARY KEY, customer text, carrier text, weight numeric, token text);
SELECT notify.attach('parcel', 'new.customer', columns => '{-token}');
INSERT INTO notify.category (name, class, channels) VALUES ('parcels', 'transactional', '{sms,email}');
CREATE VIEW bound AS
	SELECT t.name, t.channel, notify._partials(v.partials) AS partials
	FROM notify.template t JOIN notify.template_version v ON v.id = t.version;

-- Partials are checked as templates are, and must find what they name
INSERT INTO notify.partial (name, body) VALUES ('greeting', E'Hi\n{% if name %}');
INSERT INTO notify.partial (name, body) VALUES ('greeting', '{% render "salutation" %}');
INSERT INTO notify.partial (name, body) VALUES
	('greeting', '{% render "salutation", name: name %} {{ name }}'), ('salutation', 'Dear'), ('footer', 'Bye{{ new.carier }}');
INSERT INTO notify.template (name, channel, body) VALUES ('sent', 'sms', '{% render "geeting" %}');
INSERT INTO notify.template (name, channel, body) VALUES ('sent', 'sms', '{% render geeting %}');

-- A template is bound to the versions that were there, also of partials' partials
INSERT INTO notify.template (name, channel, subject, body) VALUES
	('sent', 'sms', NULL, '{% render "greeting", name: recipient.name %}: {{ new.carrier }}'),
	('sent', 'email', 'Parcel {{ new.id }}', '{{ new.weight }}{% include "footer" %}'),
	('sent', 'inbox', NULL, '{% include which %}');
SELECT * FROM bound ORDER BY channel;
SELECT version AS first FROM notify.template WHERE channel = 'sms' \gset
UPDATE notify.partial SET body = 'Hello' WHERE name = 'salutation';
SELECT channel, version <> :first AS later FROM notify.template WHERE channel = 'sms';
SELECT v.id = :first AS first, notify.render(v.body, '{"recipient": {"name": "Ann"}, "new": {"carrier": "DHL"}}', 'text', notify._partials(v.partials))
FROM notify.template_version v WHERE v.name = 'sent' AND v.channel = 'sms' ORDER BY v.id;
SELECT partials -> 'salutation' FROM bound ORDER BY channel;
-- what changes no words makes no version
SELECT max(id) AS last FROM notify.template_version \gset
UPDATE notify.partial SET body = body;
UPDATE notify.template SET weight = 2;
SELECT max(id) = :last FROM notify.template_version;
-- a new partial is one more that a computed name may mean
INSERT INTO notify.partial (name, body) VALUES ('alone', 'x');
SELECT channel, partials ? 'alone' FROM bound ORDER BY channel;

-- Circles, and taking away what is used
UPDATE notify.partial SET body = '{% include "greeting" %}' WHERE name = 'salutation';
INSERT INTO notify.partial (name, body) VALUES ('again', '{% if more %}{% render "again" %}{% endif %}');
DELETE FROM notify.partial WHERE name = 'salutation';
DELETE FROM notify.partial WHERE name = 'footer';
UPDATE notify.partial SET name = 'end' WHERE name = 'footer';
DELETE FROM notify.partial WHERE name = 'alone';
SELECT count(*) FROM notify.partial_version WHERE name = 'alone';

-- A change in a partial that its users cannot live with is refused
UPDATE notify.partial SET body = '{{ 1 | nosuch }}' WHERE name = 'footer';
SELECT notify.render(body, '{}') FROM notify.partial WHERE name = 'footer';

-- Saving a rule, then its template, warns about what the rule cannot supply
INSERT INTO notify.rule (name, source, template, category, context) VALUES
	('parcel sent', 'parcel', 'sent', 'parcels', 'SELECT 5 AS days, now() AS promised');
UPDATE notify.template SET body = '{{ new.wieght }} {{ nwe.id }} {{ weight }} {{ new.token }} {{ day }} {{ promised.at }} {{ old.id }} {{ event.at }} {{ recipient.nmae }} {% assign own = 1 %}{{ own }}'
WHERE name = 'sent' AND channel = 'inbox';
-- like nothing there is, with a member and without: nothing is suggested, or where a member of this name is
UPDATE notify.template SET body = '{{ zebra }} {{ zebra.id }} {{ carrier.phone }}' WHERE name = 'sent' AND channel = 'inbox';
UPDATE notify.template SET body = '{{ recipient.nmae }}' WHERE name = 'sent' AND channel = 'inbox';
UPDATE notify.partial SET body = 'Bye {{ new.carrier }}' WHERE name = 'footer';
-- emitted events may carry anything
INSERT INTO notify.rule (name, event_type, recipient, template, category) VALUES
	('parcel lost', 'lost', 'new->>''who''', 'sent', 'parcels');

-- Two savers take turns; the second is bound to what the first saved (see also test/specs/words.spec)
SELECT mode FROM pg_locks WHERE relation = 'notify.partial_version'::regclass;
BEGIN;
UPDATE notify.template SET weight = 1 WHERE false;
SELECT mode FROM pg_locks WHERE relation = 'notify.partial_version'::regclass;
ROLLBACK;

-- Previews
INSERT INTO notify.template (name, channel, locale, variant, subject, body, html) VALUES
	('bill', 'email', 'default', '', 'Bill {{ number }}', '{{ total | money: "EUR" }} {{ cutsomer.name }}', '<p>{{ customer.name }}</p>'),
	('bill', 'email', 'de', '', 'Rechnung {{ number }}', '{{ total | money: "EUR" }}', '{{ number | money: "XQX" }}'),
	('bill', 'sms', 'de', 'a', NULL, 'Summe {{ total | number: 2 }} {{ note }}{{ tip | default: "-" }}', NULL),
	('bill', 'sms', 'de', 'b', NULL, '{{ total | divided_by: 0 }}{{ customer.nmae }}', NULL),
	('bill', 'inbox', 'fr', '', NULL, '{% include "footer" %}', NULL);
INSERT INTO notify.template (name, channel, locale, body, provider_template) VALUES
	('bill', 'push', 'de', '{{ total }}', '{"id": "T-1", "list": ["{{ number | plus: 1 }}", 2, {"{{ key }}": "{{ total | money: \"EUR\" }}"}], "n": null}'),
	('bill', 'chat', 'de', 'x', '{"id": "{{ number | money: \"XQX\" }}"}');
\pset expanded on
SELECT * FROM notify.preview('bill', '{"number": 7, "total": 1234.5, "note": null, "customer": {"name": "<Ann>"}}');
SELECT * FROM notify.preview('bill', '{"number": 7, "total": 1234.5, "note": null, "customer": {"name": "Ann"}}', 'de-AT');
SELECT * FROM notify.preview('bill', '{"recipient": {"locale": "fr"}}');
\pset expanded off
SELECT * FROM notify.preview('nosuch', '{}');
SELECT * FROM notify.preview('bill', '[]');

-- Who may
SET ROLE notify_admin;
INSERT INTO notify.partial (name, body) VALUES ('admin', 'a{% render "footer" %}');
UPDATE notify.partial SET body = 'b' WHERE name = 'admin';
DELETE FROM notify.partial WHERE name = 'admin';
SELECT count(*) FROM notify.preview('bill', '{}');
INSERT INTO notify.partial_version (id, name, body) VALUES (1000000, 'x', 'y');
RESET ROLE;
CREATE TRIGGER borrowed AFTER INSERT ON parcel FOR EACH ROW EXECUTE FUNCTION notify._save_partial_version();
INSERT INTO parcel VALUES (1);
DROP TRIGGER borrowed ON parcel;

DELETE FROM notify.rule;
DELETE FROM notify.template;
DELETE FROM notify.partial;
SELECT notify.detach('parcel');
DROP SCHEMA saving CASCADE;

-- Where text is not UTF-8 there is nothing to begin with
SELECT current_database() AS here \gset
CREATE DATABASE notify_latin1 ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';
\c notify_latin1
CREATE EXTENSION notify_pg;
\c :here
DROP DATABASE notify_latin1;
