#!/usr/bin/python3
"""A real SMTP server (aiosmtpd) on the loopback that keeps what it is given.

    smtp_sink.py DIRECTORY [--port N] [--tls starttls|required|implicit --cert FILE --key FILE]
                 [--auth USER:PASSWORD]

Every mail accepted becomes DIRECTORY/NNNNNN.eml, byte for byte, and a line of
DIRECTORY/smtp.jsonl: file, mail_from, rcpt_tos, tls, user, helo, at. A mail
refused at DATA or dropped is a line too, with file null and the reply.
The port stands in DIRECTORY/smtp.port.

How it answers can be put into an address of the recipient:

    rcpt-550-5.1.1@...    RCPT TO is answered "550 5.1.1 as asked"
    data-451-4.3.0@...    DATA is answered "451 4.3.0 as asked"
    drop@...              takes the mail, keeps it, and closes without a reply
    slow-500@...          takes the mail and answers after that many milliseconds
    stall@...             takes the mail and never answers

or set for all by DIRECTORY/smtp.behave.json, read anew for each command:
{"mail": REPLY, "rcpt": {ADDRESS: REPLY}, "data": REPLY}.
"""

import argparse
import asyncio
import json
import os
import re
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

import sink


class Handler:
    def __init__(self, directory, log):
        self.directory = directory
        self.log = log
        self.count = 0

    def told(self, command, default=None):
        """What smtp.behave.json says about a command."""
        try:
            with open(f"{self.directory}/smtp.behave.json", encoding="utf-8") as file:
                return json.load(file).get(command, default)
        except FileNotFoundError:
            return default

    async def handle_MAIL(self, server, session, envelope, address, options):
        reply = self.told("mail")
        if reply:
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender ok"

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = self.told("rcpt", {}).get(address) or asked("rcpt", address)
        if reply:
            self.note(server, session, envelope, reply, rcpt=address)
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, server, session, envelope):
        reply = self.told("data")
        for address in envelope.rcpt_tos:
            reply = reply or asked("data", address)
        if reply:
            self.note(server, session, envelope, reply)
            return reply
        names = {address.partition("@")[0] for address in envelope.rcpt_tos}
        if "stall" in names:
            self.note(server, session, envelope, "stalled")
            await asyncio.get_running_loop().create_future()
        self.keep(server, session, envelope)
        await asyncio.sleep(max((int(name[5:]) for name in names if re.match(r"slow-\d+$", name)), default=0) / 1000)
        if "drop" in names:
            server.transport.abort()
        return f"250 2.0.0 queued as {self.count:06d}"

    def keep(self, server, session, envelope):
        self.count += 1
        file = f"{self.count:06d}.eml"
        with open(f"{self.directory}/{file}", "wb") as out:
            out.write(envelope.original_content)
        self.note(server, session, envelope, "250", file=file)

    def note(self, server, session, envelope, reply, file=None, **more):
        self.log.add(
            file=file,
            reply=reply,
            mail_from=envelope.mail_from,
            mail_options=envelope.mail_options,
            rcpt_tos=envelope.rcpt_tos,
            tls=server.transport.get_extra_info("ssl_object") is not None,
            user=session.auth_data.decode() if session.authenticated else None,
            helo=session.host_name,
            **more,
        )


def asked(command, address):
    """The reply an address asks for, such as rcpt-550-5.1.1@example.com."""
    match = re.match(command + r"-(\d{3})(?:-(\d\.\d+\.\d+))?(?:\+\w+)?@", address)
    return match and " ".join([part for part in match.groups() if part] + ["as asked"])


def authenticator(expected):
    def check(server, session, envelope, mechanism, data):
        if isinstance(data, LoginPassword) and data.login + b":" + data.password == expected.encode():
            return AuthResult(success=True, auth_data=data.login)
        return AuthResult(success=False, handled=False)

    return check


def options(args, tls):
    """Arguments of aiosmtpd's SMTP for what the command line asks."""
    result = {"enable_SMTPUTF8": True, "ident": "sink", "hostname": "sink.example", "data_size_limit": 1 << 26}
    if args.tls in ("starttls", "required"):
        result.update(tls_context=tls, require_starttls=args.tls == "required")
    if args.auth:
        result.update(
            authenticator=authenticator(args.auth),
            auth_required=True,
            auth_require_tls=args.tls in ("starttls", "required"),
        )
    return result


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", choices=("none", "starttls", "required", "implicit"), default="none")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--auth")
    args = parser.parse_args()
    os.makedirs(args.directory, exist_ok=True)
    tls = None
    if args.tls != "none":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(args.cert, args.key)
    handler = Handler(args.directory, sink.Log(f"{args.directory}/smtp.jsonl"))
    kwargs = options(args, tls)
    await sink.serve(
        lambda: SMTP(handler, **kwargs), args.directory, "smtp", args.port, tls if args.tls == "implicit" else None
    )


if __name__ == "__main__":
    asyncio.run(main())
