#!/usr/bin/python3
"""Prints, for each customer of the demo, what arrived on each channel: the
inbox rows, the mails as the SMTP server stored them (decoded here by Python's
own mail parser), and the requests the HTTP server was sent.

    received.py DIRECTORY        the sinks' directory; the database is psql's default
"""

import email
import email.policy
import json
import subprocess
import sys


def rows(query):
    """The rows of a query, as dictionaries."""
    out = subprocess.run(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", f"SELECT coalesce(json_agg(q), '[]') FROM ({query}) AS q"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return json.loads(out)


def lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def indent(text, by=9):
    return "\n".join(" " * by + line for line in text.strip().splitlines())


def show_inbox(customer):
    items = rows(f"SELECT * FROM notify.inbox WHERE recipient = '{customer['id']}' ORDER BY id")
    print(f"   inbox: {len(items)}")
    for item in items:
        print(f"     * {item['subject']}\n{indent(item['body'])}")


def show_mails(customer, directory, entries):
    mine = [e for e in entries if e["file"] and customer["email"] in e["rcpt_tos"]]
    print(f"   e-mail: {len(mine)}")
    for entry in mine:
        with open(f"{directory}/{entry['file']}", "rb") as file:
            mail = email.message_from_binary_file(file, policy=email.policy.default)
        parts = ", ".join(part.get_content_type() for part in mail.walk() if not part.is_multipart())
        print(f"     * From: {mail['from']}  To: {mail['to']}")
        print(f"       Subject: {mail['subject']}")
        print(f"       Message-ID: {mail['message-id']}  ({mail.get_content_type()}: {parts})")
        print(indent(mail.get_body(("plain",)).get_content()))


def show_requests(customer, entries):
    mine = [e for e in entries if json.loads(e["body"]).get("customer") == str(customer["id"])]
    print(f"   webhook: {len(mine)}")
    for entry in mine:
        headers = entry["headers"]
        print(f"     * {entry['method']} {entry['path']}  webhook-id: {headers.get('webhook-id')}")
        print(f"       webhook-signature: {headers.get('webhook-signature')}")
        print(indent(entry["body"]))


def main():
    directory = sys.argv[1]
    mails = lines(f"{directory}/smtp.jsonl")
    requests = lines(f"{directory}/http.jsonl")
    for customer in rows("SELECT id, name, email, language FROM customers ORDER BY id"):
        print(f"\n-- {customer['name']} ({customer['language']}, {customer['email'] or 'no e-mail address'})")
        show_inbox(customer)
        show_mails(customer, directory, mails)
        show_requests(customer, requests)


if __name__ == "__main__":
    main()
