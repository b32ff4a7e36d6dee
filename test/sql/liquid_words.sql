--
-- Liquid: plural forms, relative times, SMS; and where the reference is particular.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
\encoding UTF8
\pset format unaligned
\pset tuples_only on
\pset null NULL

CREATE SCHEMA words;
SET search_path = words, public;
CREATE FUNCTION say(template text, data jsonb DEFAULT '{}', format text DEFAULT 'text', partials jsonb DEFAULT '{}') RETURNS text
LANGUAGE sql AS $$ SELECT '[' || notify.render(template, data, format, partials) || ']' $$;

-- Plural forms, by CLDR's rules in the recipient's language
SELECT locale, string_agg(n || ' ' || notify.render(
	'{{ n | plural: zero: "zero", one: "one", two: "two", few: "few", many: "many", other: "other" }}',
	jsonb_build_object('n', n, 'recipient', jsonb_build_object('locale', locale))), ', ' ORDER BY n)
FROM unnest('{en-US,de-DE,fr,pl,ru,ar,lv,zh-CN,nowhere}'::text[]) WITH ORDINALITY AS l (locale, o)
CROSS JOIN unnest('{0,1,1.5,2,3,5,11,21,100,1000000}'::numeric[]) n
GROUP BY o, locale ORDER BY o;
SELECT say('{{ n | plural: one: "# item", other: "# items" }}', jsonb_build_object('n', n, 'recipient', '{"locale": "de"}'::jsonb))
FROM unnest('{1,1234,-1,0.5}'::numeric[]) n;
SELECT say('{{ n | plural: ordinal: true, one: "#st", two: "#nd", few: "#rd", other: "#th" }}', jsonb_build_object('n', n))
FROM unnest('{1,2,3,4,11,22,103}'::integer[]) n;
SELECT say('{{ 0 | plural: zero: "none", other: "some" }} {{ 3 | plural: other: "## #" }} {{ "2" | plural: other: two }} {{ nil | plural: other: "x" }}', '{"two": "<#>"}', 'html');
SELECT say('{{ 1 | plural: one: "x" }}');
SELECT say('{{ 1 | plural: other: "x", some: "y" }}');
SELECT say('{{ "many" | plural: other: "x" }}');

-- How one time stands to another
SELECT d, string_agg(notify.render('{{ t | relative_time: "2026-03-14T12:00:00Z" }}',
	jsonb_build_object('t', timestamptz '2026-03-14 12:00Z' + d, 'recipient', jsonb_build_object('locale', locale))), ', ' ORDER BY o)
FROM unnest('{0,30 s,59.4 s,59.5 s,5 min,59.9 min,-3 h,13 h,-13 h,23.8 h,26 h,-30 h,6 days,13 days,20 days,-40 days,200 days,-3 years}'::interval[])
	WITH ORDINALITY AS i (d, n)
CROSS JOIN unnest('{en,de,zh-CN}'::text[]) WITH ORDINALITY AS l (locale, o)
GROUP BY n, d ORDER BY n;
-- days are the recipient's
SELECT say('{{ "2026-03-15T23:30:00Z" | relative_time: "2026-03-14T12:00:00Z" }}', jsonb_build_object('recipient', jsonb_build_object('time_zone', z)))
FROM unnest('{UTC,Asia/Shanghai}'::text[]) z;
SELECT say('{{ "now" | relative_time }} {{ x | relative_time }} {{ "soon" | relative_time }}');
SELECT say('{{ "now" | relative_time: "soon" }}');

-- A date keeps the offset it is written with, unless there is a recipient to read it
SELECT say('{{ t | date: "%H:%M %z %Z" }}, {{ t | time }}, {{ t | time: "long" }}, {{ "10:20" | date: "%H:%M %z" }}',
	d::jsonb || '{"t": "2016-03-14T23:20:30-05:30"}')
FROM unnest('{"{}","{\"recipient\": {}}","{\"recipient\": {\"time_zone\": \"Asia/Tokyo\"}}"}'::text[]) d;

-- What an SMS takes
SELECT left(body, 8), length(body), s.* FROM (VALUES (1, ''), (2, repeat('a', 160)), (3, repeat('a', 161)), (4, repeat('a', 306)), (5, repeat('a', 307)),
	(6, '€' || repeat('a', 158)), (7, '€' || repeat('a', 159)), (8, repeat('a', 152) || '€' || repeat('a', 152)), (9, 'ÄÖÜäöüß@£¥èÇØΔ^{}\[~]|'), (10, 'ç'),
	(11, '你好'), (12, repeat('你', 70)), (13, repeat('你', 71)), (14, repeat('你', 134)), (15, repeat('你', 135)), (16, repeat('😀', 35)),
	(17, repeat('你', 66) || '😀' || repeat('你', 66)), (18, NULL)) AS v (n, body)
CROSS JOIN LATERAL notify.sms_length(body) AS s ORDER BY n;

-- In html nothing is escaped twice, and nothing gets by
SELECT say('{{ a | newline_to_br }} {{ a | escape | newline_to_br }} {{ a | raw | newline_to_br }} {% capture c %} <b>{{ a }}</b> {% endcapture %}{{ c | strip }} {{ c | strip_newlines | append: a }} {{ a | prepend: c }} {{ "<" | append: a | strip }} {{ c | upcase }} {{ a | append: "<" | raw }}', '{"a": "x<\ny"}', 'html');
SELECT say('{{ a | newline_to_br }} {{ a | escape | append: a }}', '{"a": "x<\ny"}');

-- Names that only brackets can read
SELECT say('{% assign a-1.x[] = "hi" %}{{ ["a-1.x[]"] }} {% assign (p) = 2 %}{{ ["(p)"] }} {% capture "two words" %}3{% endcapture %}{{ ["two words"] }} {% capture q.r %}4{% endcapture %}{{ ["q.r"] }}');
SELECT say('{% assign a? = 1 %}');
-- A rendered partial counts for itself; cycles go on once the template has begun one
SELECT say('{% increment n %}{% render "p" %}{% render "p" %}{% increment n %} {% render "q" %}{% render "q" %}{% cycle "a", "b" %}{% render "q" %}', '{"n": 5}', 'text',
	'{"p": "({% increment n %}{% increment n %})", "q": "{% cycle \"a\", \"b\" %}"}');
SELECT say('{% ifchanged %}x{% endifchanged %}{% render "p" %}{% render "p" %}{% ifchanged %}x{% endifchanged %}', '{}', 'text', '{"p": "{% ifchanged %}y{% endifchanged %}"}');
-- Words
SELECT say(E'{{ "one two " | truncatewords: 2 }}|{{ " one two" | truncatewords: 2 }}|{{ "one" | truncatewords: 0 }}|{{ " a \n b " | squish }}|{{ nil | squish }}');
SELECT say('{% for i in (1..5) reversed, limit: 2 %}{{ i }}{% endfor %}');
SELECT say('{% for i in (1..5) limit: 2 reversed %}{{ i }}{% endfor %}');
-- Hints
SELECT say('{% asign a = 1 %}');
SELECT say('{{ "x" | upcsae }}');
SELECT say('{{ "x" | default: "y", allow: true }}');

-- An amount, a number, a share in some languages
SELECT locale, say('{{ 1234.5 | money: "CNY" }} {{ 1234.5 | number }} {{ 0.125 | percent: 1 }}',
	jsonb_build_object('recipient', jsonb_build_object('locale', locale)))
FROM unnest('{zh-CN,en-US,de-DE,ar-EG}'::text[]) locale;

-- Large numbers keep their digits; computing with very large ones has a limit
SELECT say('{{ a }} {{ a | plus: 1 }} {{ b }} {{ b | number: 3 }} {{ c | money: "EUR" }} {{ d }}',
	'{"a": 123456789012345678901234567890, "b": 12345678901234567890.125, "c": 123456789012345678901234567890.12, "d": 1e-20}');
SELECT length(say('{{ a }}', jsonb_build_object('a', '1e5000'::numeric - 1)));
SELECT say('{{ a | plus: 1 }}', jsonb_build_object('a', '1e5000'::numeric - 1));
SELECT say('{% assign x = 7.7 %}{% for i in (1..40) %}{% assign x = x | times: x %}{% endfor %}');
-- What is no text does not get in
SELECT say('{{ "a%00b" | url_decode }}');
SELECT say('{{ "%ff" | url_decode }}');
SELECT say('{{ "AA==" | base64_decode }}');
SELECT say(E'\x01{{ c }}', '{"c": "\u0002"}') = E'[\x01\x02]';
-- Other ways to be too much
SELECT say(string_agg('{% assign v' || n || ' = 1 %}', '')) FROM generate_series(1, 1001) n;
SELECT say(repeat('x', 1024 * 1024 + 1));
SELECT say('{% render "p" %}{% render "q" %}', '{}', 'text', jsonb_build_object('p', repeat('x', 1000000), 'q', repeat('x', 100000)));
SELECT say(repeat('{% capture x %}', 90) || '{% for i in (1..100000) %}0123456789{% endfor %}' || repeat('{{ x }}{{ x }}{% endcapture %}{{ x }}', 90));
SELECT say('{% for i in a %}{% for j in a limit: 1 %}{% for k in a %}{% endfor %}{% endfor %}{% endfor %}', jsonb_build_object('a', (SELECT jsonb_agg(n) FROM generate_series(1, 20000) n)));
SELECT say('{% assign s = "x" %}{% for i in (1..20) %}{% assign s = s | append: s %}{% endfor %}{% for i in (1..4000000) %}{% if s.size > 1 %}{% endif %}{% endfor %}');

DROP SCHEMA words CASCADE;
