// What make bench-liquid renders: five kinds of templates, with their data.
// Both engines get the same sources, data and partials, and must say the same.

const names = ['Ada', 'Grace', 'Linus', 'Barbara', 'Ken', 'Margaret', 'Dennis', 'Radia'];
const goods = ['green tea', 'a pot & a cup', '<b>bold</b> coffee', 'sugar "fine"', "baker's bread", 'rice', 'noodles', 'salt'];

const items = (count) => Array.from({ length: count }, (_, i) => ({
  id: i + 1, name: goods[i % goods.length], price: 1250 + 37 * i, quantity: 1 + i % 4,
  tags: ['new', 'sale', 'gift'].slice(0, i % 4), shipped: i % 3 === 0,
}));

const order = (count) => ({
  order: { number: 'A-1027', total: 125990, currency: 'EUR', items: items(count), note: null, address: { street: 'Long Lane 5', city: 'Leeds' } },
  customer: { name: 'Ada Lovelace', email: 'ada@example.org', points: 1815, vip: true },
  shop: { name: 'The Shop', url: 'https://shop.example.org' },
});

const plain = `Dear {{ customer.name }},

thank you for your order {{ order.number }} of {{ order.total }} {{ order.currency }} cents.
{% if customer.vip %}As one of our best customers you have {{ customer.points }} points.{% else %}Collect points!{% endif %}
It goes to {{ order.address.street }}, {{ order.address.city }}.{% if order.note %}
Your note: {{ order.note }}{% endif %}

{{ shop.name }}, {{ shop.url }}/orders/{{ order.number }}
`;

const loops = `{% assign sorted = order.items | sort: "price" %}{% for item in sorted %}
{{ forloop.index }}. {{ item.name | capitalize | truncate: 18 }} x {{ item.quantity }} = {{ item.price | times: item.quantity | plus: 10 }} {{ order.currency | downcase }}
{%- if item.tags.size > 0 %} ({{ item.tags | join: ", " | upcase }}){% endif %}
{%- unless item.shipped %} {{ item.name | replace: "a", "o" | append: "!" }}{% endunless %}
{%- endfor %}
{{ order.items | map: "quantity" | join: "+" }} / {{ order.items | where: "shipped" | size }}
`;

const html = `<html><body><h1>{{ shop.name }}: {{ order.number }}</h1><table>
{% for item in order.items %}<tr class="{% cycle 'odd', 'even' %}"><td>{{ item.id }}</td><td>{{ item.name }}</td><td title="{{ item.name }}">{{ item.price }}</td><td>{% if item.shipped %}shipped{% else %}waiting{% endif %}</td></tr>
{% endfor %}</table><p>{{ customer.name }} &lt;{{ customer.email }}&gt;</p></body></html>
`;

const partials = {
  header: '*** {{ title | upcase }} ***\n',
  line: '{{ item.id }}: {{ item.name }}, {{ item.price }} {{ currency }}{% render "stock", shipped: item.shipped %}\n',
  stock: '{% if shipped %} (shipped){% endif %}',
  footer: '{{ shop.name }} - {{ shop.url }}',
};
const withPartials = `{% render "header", title: order.number %}{% for item in order.items %}{% render "line", item: item, currency: order.currency %}{% endfor %}{% include "footer" %}
`;

const prose = 'We pack it with care, send it off the same day, and tell you at every step where it is; you need not do a thing. ';
const section = (n) => `## Section ${n} for {{ customer.name }}
${prose.repeat(4)}
{% if customer.points > ${n * 10} %}You have more than ${n * 10} points: {{ customer.points }}.{% else %}Keep going!{% endif %}
{% assign n = ${n} | times: 3 %}{{ n }} {{ shop.name | downcase }} {{ order.address.city }}
`;
const page = Array.from({ length: 80 }, (_, n) => section(n + 1)).join('\n');

export const kinds = [
  { name: 'plain fill', template: plain, data: order(3), partials: {}, format: 'text' },
  { name: 'loops with filters', template: loops, data: order(50), partials: {}, format: 'text' },
  { name: 'html with escaping', template: html, data: order(50), partials: {}, format: 'html' },
  { name: 'partials', template: withPartials, data: order(30), partials, format: 'text' },
  { name: 'a 50 KB page', template: page, data: order(3), partials: {}, format: 'text' },
];
