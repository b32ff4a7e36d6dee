--
-- Liquid: what templates can say, what they refuse, and what stops them.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
\encoding UTF8
\pset format unaligned
\pset tuples_only on
\pset null NULL
\set VERBOSITY default

CREATE SCHEMA liquid;
SET search_path = liquid, public;
CREATE FUNCTION say(template text, data jsonb DEFAULT '{}', format text DEFAULT 'text',
	partials jsonb DEFAULT '{}') RETURNS text
LANGUAGE sql AS $$ SELECT '[' || notify.render(template, data, format, partials) || ']' $$;

-- A shop's message
SELECT say($$Dear {{ customer.name | default: "customer" }},
your order {{ order.number }} is on its way:
{% for item in order.items -%}
{{ forloop.index }}. {{ item.name }}{% if item.quantity > 1 %} x {{ item.quantity }}{% endif %}: {{ item.quantity | times: item.price | money: order.currency }}
{% else -%}
nothing
{% endfor -%}
Total: {{ order.total | money: order.currency }}$$,
	'{"customer": {"name": "李雷"}, "recipient": {"locale": "zh-CN"},
	  "order": {"number": "A-1", "currency": "CNY", "total": 1259.70,
		"items": [{"name": "茶", "quantity": 3, "price": 19.90}, {"name": "壶", "quantity": 1, "price": 1200}]}}');

-- Paths
SELECT say('{{ a.b.c }} {{ a["b"].c }} {{ a[k].c }} {{ ["two words"] }} {{ l[0] }} {{ l[-1] }} {{ l[i] }} {{ l[9] }} {{ no.such.thing }}',
	'{"a": {"b": {"c": 1}}, "k": "b", "two words": 2, "l": ["x", "y", "z"], "i": 1}');
SELECT say('{{ l.size }} {{ l.first }} {{ l.last }} {{ o.size }} {{ o.first | join: "=" }} {{ s.size }} {{ p.size }} {% assign r = (2..5) %}{{ r.size }}',
	'{"l": [1, 2, 3], "o": {"a": 1}, "s": "日本", "p": {"size": "own"}}');
SELECT say('{{ l }} {{ o }} {{ n }} {{ t }} {{ (1..3) }} {{ "q" }} {{ }}',
	'{"l": [1, ["a", null], true], "o": {"a": [1, null], "b": "x\"y"}, "n": null, "t": true}');

-- Numbers
SELECT say('{{ 5 }} {{ 5.0 }} {{ -1.50 }} {{ a }} {{ b }} {{ c }} {{ d }} {{ e }}',
	'{"a": 19.90, "b": 12345678901234567890, "c": 1e16, "d": 100000000000000000.5, "e": 0.00001}');
SELECT say('{{ 0.1 | plus: 0.2 }} {{ 10.1 | minus: 2.2 }} {{ 3 | times: 1.5 }} {{ 7 | divided_by: 2 }} {{ -7 | divided_by: 2 }} {{ 7 | divided_by: 2.0 }} {{ -7 | modulo: 3 }} {{ 10.1 | modulo: 7 }}');
SELECT say('{{ "3.5" | plus: "1" }} {{ "x" | plus: 1 }} {{ nil | minus: 1 }} {{ "12abc" | plus: 0 }} {{ 9223372036854775807 | plus: 1 }} {{ 9223372036854775807 | times: 9223372036854775807 }}');
SELECT say('{{ 2.5 | round }} {{ 2.345 | round: 2 }} {{ 15 | round: -1 }} {{ 1.2 | ceil }} {{ -1.2 | floor }} {{ "-3" | abs }} {{ 5 | at_least: 8 }} {{ 5 | at_most: 3.5 }}');

-- Conditions: only nil and false are false; "and" and "or" bind to the right
SELECT say('{% if 0 %}1{% endif %}{% if "" %}2{% endif %}{% if nil %}3{% endif %}{% if l %}4{% endif %}{% unless false %}5{% endunless %}', '{"l": []}');
SELECT say('{% if true or false and false %}yes{% else %}no{% endif %} {% if false and true or true %}yes{% else %}no{% endif %}');
SELECT say('{% if a == 1.0 %}1{% endif %}{% if a != "1" %}2{% endif %}{% if a <> 2 %}3{% endif %}{% if a < 2 and a <= 1 and 2 > a and 1 >= a %}4{% endif %}{% if nil < 1 %}5{% endif %}', '{"a": 1}');
SELECT say('{% if s contains "ell" %}1{% endif %}{% if l contains 2 %}2{% endif %}{% if o contains "k" %}3{% endif %}{% if nil contains 1 %}4{% endif %}', '{"s": "hello", "l": [1, 2], "o": {"k": 0}}');
SELECT say('{% if "" == empty %}1{% endif %}{% if l == empty %}2{% endif %}{% if "  " == blank %}3{% endif %}{% if nil == blank %}4{% endif %}{% if nil == empty %}5{% endif %}{% if 0 == blank %}6{% endif %}', '{"l": []}');
SELECT say('{% case n %}{% when 1, 2 %}few{% when 3 or 4 %}some{% else %}many{% endcase %}', jsonb_build_object('n', n))
FROM unnest('{1,4,5}'::int[]) n;
SELECT say('{% if "1" < 2 %}{% endif %}');

-- Loops
SELECT say('{% for i in (1..9) reversed limit: 3 offset: 2 %}{{ i }}{% endfor %} {% for i in l limit: 2 %}{{ i }}{% endfor %}{% for i in l offset: continue %}-{{ i }}{% endfor %} {% for i in no %}x{% else %}none{% endfor %}', '{"l": [1, 2, 3, 4]}');
SELECT say('{% for i in (1..9) %}{% if i == 3 %}{% continue %}{% endif %}{% if i == 6 %}{% break %}{% endif %}{{ i }}{% endfor %}');
SELECT say('{% for i in l %}{{ forloop.index }}/{{ forloop.length }} {{ forloop.rindex0 }} {{ forloop.first }} {{ forloop.last }};{% for j in (1..1) %}{{ forloop.parentloop.index0 }}{% endfor %} {% endfor %}', '{"l": ["a", "b"]}');
SELECT say('{% for p in o %}{{ p[0] }}={{ p[1] }};{% endfor %}', '{"o": {"b": 1, "a": 2}}');
SELECT say('{% for i in (1..3) %}{% assign f = forloop %}{% endfor %}{{ f.length }}{{ i }}');
SELECT say('{% for i in (1..4) %}{% cycle "odd", "even" %} {% cycle "g": 1, 2, 3 %};{% endfor %} {% increment n %}{% increment n %} {% decrement m %}{{ n }}');
SELECT say('{% tablerow i in (1..3) cols: 2 %}{{ tablerowloop.col }}{% endtablerow %}');
SELECT say('{% for i in l %}{% ifchanged %}{{ i }}{% endifchanged %}{% endfor %}', '{"l": [1, 1, 2, 2, 1]}');

-- Variables, white space, and what is left alone
SELECT say('{% assign a = "x,y" | split: "," %}{% capture c %}<{{ a | join: "+" }}>{% endcapture %}{{ c }}{% assign d = c %}{% assign c = 1 %}{{ d }}{{ c }}');
SELECT say(E'a \n {{- 1 -}} \n b{% if true -%} \n c \n {%- endif %} d');
SELECT say(E'{% if true %} \n {% assign a = 1 %} {% endif %}{% comment %}{% if %}{{ {% endcomment %}{% raw %}{{ a }}{% endraw %}{% # note %}{% doc %}{{{% enddoc %}');
SELECT say('{% comment %}{% comment %}a{%-endcomment%}{% raw %}{% endcomment %}{% endraw %}{% x {% endcomment -%}  b{% raw %}{% {%{%- endraw -%} c');
SELECT say(E'{% liquid\n  # of lines\n  assign a = 2\n  for i in (1..a)\n    echo i | append: ";"\n  endfor\n%}');

-- Strings
SELECT say('{{ "straße, é" | upcase }} {{ "ÀB" | downcase }} {{ "éa B" | capitalize }} {{ " x " | strip }}{{ " x " | lstrip }}{{ " x " | rstrip }}.');
SELECT say('{{ "你好世界" | slice: 1, 2 }} {{ "hello" | slice: -3, 2 }} {{ "你好世界" | truncate: 3, "…" }} {{ "one two  three" | truncatewords: 2 }} {{ "aXbXc" | replace: "X", "-" }} {{ "aXbXc" | replace_first: "X", "-" }} {{ "aXbXc" | replace_last: "X", "-" }} {{ "ab" | replace: "", "." }} {{ "aXbXc" | remove: "X" }}');
SELECT say('{{ "a b" | url_encode }} {{ "%E4%BD%A0+x" | url_decode }} {{ "héllo" | base64_encode }} {{ "aMOpbGxv" | base64_decode }} {{ "<p>a<!-- b --><br/>c</p>" | strip_html }} {{ "1 < 2 &amp; 3" | escape_once }} {{ "<" | escape }}');
SELECT say('{{ o | json }} {{ "a\b" | json }} {{ (1..2) | json }}', '{"o": {"k": ["é", 1.5, null, "\"\n"]}}');
SELECT say(E'{{ "a\r\nb\nc" | newline_to_br }} {{ "a\nb" | strip_newlines }}');

-- Arrays
SELECT say('{{ l | sort | join }} {{ l | sort_natural | join }} {{ l | reverse | join }} {{ l | uniq | size }} {{ l | first }} {{ l | last }} {{ l | concat: m | join: "," }} {{ n | compact | size }} {{ m | sum }}', '{"l": ["b", "a", "B", "a"], "m": [1, 2.5], "n": [1, null]}');
SELECT say('{{ l | map: "n" | join }} {{ l | where: "ok" | map: "n" | join }} {{ l | where: "n", 2 | size }} {{ l | reject: "ok" | map: "n" | join }} {{ l | sum: "n" }} {% assign f = l | find: "n", 2 %}{{ f.t }} {{ l | find_index: "n", 3 }} {{ l | has: "n", 9 }} {{ l | sort: "t" | map: "n" | join }}',
	'{"l": [{"n": 1, "ok": true, "t": "c"}, {"n": 2, "ok": false, "t": "b"}, {"n": 3, "t": "a"}]}');
SELECT say('{{ nil | default: 1 }} {{ "" | default: 2 }} {{ false | default: 3 }} {{ false | default: 4, allow_false: true }} {{ 0 | default: 5 }}');
SELECT say('{{ l | sort }}', '{"l": [1, "a"]}');

-- Dates, in the recipient's zone and language
SELECT locale, say('{{ t | date: "%A, %d. %B %Y %H:%M %Z" }} | {{ t | date: "long" }}',
	jsonb_build_object('t', '2026-03-01T23:30:00+00:00', 'recipient', jsonb_build_object('locale', locale, 'time_zone', zone)))
FROM (VALUES ('en-US', 'America/New_York'), ('zh-CN', 'Asia/Shanghai'), ('de-DE', 'Europe/Berlin'), ('nowhere', 'No/Zone')) v(locale, zone);
SELECT say('{{ "2026-03-14" | date: "%F %j %U %V %G %u %e %-d %y" }} {{ "14 March 2016 3:05 pm" | date: "%F %T %I%P" }} {{ "Sat, 14 Mar 2026 15:09:26 +0200" | date: "%c %s %:z" }} {{ 0 | date: "%Y" }} {{ "2026-01-01 00:00:00.25" | date: "%L %6N" }} {{ "tomorrow-ish" | date: "%Y" }} {{ "2026-02-30" | date: "%Y" }}{{ nil | date: "%Y" }} {{ "March 1, 2026" | date: "%^b %10Y %q %%" }}');

-- Numbers and amounts, in the recipient's language
SELECT locale, say('{{ 1234567.855 | money: "EUR" }} {{ 1234.5 | money: "JPY" }} {{ 1234567.891 | number }} {{ 2.5 | number: 2 }} {{ 0.256 | percent: 1 }}{{ nil | money: "EUR" }}',
	jsonb_build_object('recipient', jsonb_build_object('locale', locale)))
FROM unnest('{en-US,de-DE,zh-CN,default}'::text[]) locale;
SELECT say('{{ 1 | money: "XQX" }}');
SELECT say('{{ "ten" | money: "USD" }}');

-- html escapes every output but what is raw, or has been escaped
SELECT say('{{ a }} {{ a | raw }} {{ a | escape }} {{ l }} {{ 1.5 }} {{ a | newline_to_br }} {% capture c %}<b>{{ a }}</b>{% endcapture %}{{ c }} {{ c | append: "<" }}', '{"a": "<i>\"&''", "l": ["<"]}', 'html');
SELECT say('{{ a }}', '{"a": "<i>"}', 'text');
SELECT say('x', '{}', 'pdf');
SELECT notify.render(NULL, '{}');

-- Partials
SELECT say('{% assign v = "outer" %}{% render "p", v: 1 %} {% render "p" %} {% render "p" with d as v %} {% render "each" for l %}', '{"d": 2, "l": ["x", "y"]}', 'text',
	'{"p": "({{ v }}{{ d }}{% assign v = 9 %})", "each": "{{ forloop.index }}{{ each }}"}');
SELECT say('{% assign v = "outer" %}{% include "p" %} {% include "p", v: 1 %} {{ w }} {% include name with l %}', '{"name": "q", "l": ["x", "y"]}', 'text',
	'{"p": "({{ v }}{% assign w = 9 %})", "q": "<{{ q }}>"}');
SELECT say('a{% render "no" %}');
SELECT say(E'\n{% render "p" %}', '{}', 'text', '{"p": "x\n{{ 1 | nosuch }}"}');
SELECT say('{% render "p" %}', '{}', 'text', '{"p": "{% include \"p\" %}"}');

-- Refused when it is saved
DO $$
DECLARE
	source text;
	message text;
	detail text;
	hint text;
BEGIN
	FOREACH source IN ARRAY ARRAY[
		E'Hello\n  订单 {{ total | mony: "CNY" }}', '{{ name | upcase: 1 }}', '{{ n | plus }}', '{{ name | default: x, allow: 1 }}',
		'{{ a b }}', '{{ a. }}', '{{ a[0 }}', '{{ "a }}', '{{ a', '{% if a', '{{ a | }}', '{{ @a }}', '{{ (1..) }}',
		'{% nosuch %}', '{% %}', '{% if a %}', E'\n{% if a %}{% for b in c %}{% endif %}', '{% endif %}', '{% if %}{% endif %}',
		'{% if a ~ b %}{% endif %}', '{% assign a %}', '{% assign a = %}', '{% for a of b %}{% endfor %}', '{% for a in b by: 2 %}{% endfor %}',
		'{% case %}{% endcase %}', '{% case a %}{% when %}{% endcase %}', '{% raw %}', '{% comment %}', '{% render name %}', '{% cycle %}',
		E'{% # one\n two %}', E'{% liquid\n if a\n%}']
	LOOP
		BEGIN
			PERFORM notify._check_liquid(source);
			RAISE WARNING 'not refused: %', source;
		EXCEPTION WHEN syntax_error THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE INFO E'%\n  %: % %', source, message, detail, hint;
		END;
	END LOOP;
END
$$;
SELECT notify._check_liquid('{{ fine }}') IS NOT NULL;

-- Limits, each with an error of its own
SELECT say('{{ 1 | divided_by: 0 }}');
SELECT say(repeat('{% if true %}', 101));
SELECT say('{{ ' || repeat('a[', 101) || '0' || repeat(']', 101) || ' }}');
SELECT say('{% for i in (1..10000000000) %}{% endfor %}');
SELECT say('{% for i in (1..10000000000) %}12345678901234567890{% endfor %}');
SELECT say('{% assign x = "12345678" %}{% for i in (1..40) %}{% assign x = x | append: x %}{% endfor %}');
SELECT say('{% assign x = "a b" | split: " " %}{% for i in (1..40) %}{% assign x = x | concat: x %}{% endfor %}');
SELECT say('{{ (1..10000000000) | join }}');
SELECT say('{% include "p" %}', '{}', 'text', '{"p": "{% include \"p\" %}"}');
SELECT say('{% for i in (1..2) limit: "x" %}{% endfor %}');

DROP SCHEMA liquid CASCADE;
