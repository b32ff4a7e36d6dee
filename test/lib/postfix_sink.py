#!/usr/bin/python3
"""Postfix's own SMTP server on the loopback, without root and without delivery.

    postfix_sink.py DIRECTORY --postfix WHERE [--port N] [--tls CERT KEY] [--auth USER:PASSWORD]

Each connection gets an smtpd(8) that takes whoever runs this for Postfix's owner,
so all of its access control is at work. trivial-rewrite(8) and cleanup(8) run
beside it, as master(8) would run them; that one, and tlsmgr(8), want root, so what
they do is done here. So is asking for passwords, in the place of Dovecot.

Before anything of smtpd goes on to the client, the letters it has queued meanwhile
are taken out of its queue: each becomes DIRECTORY/ID.eml and a line of
DIRECTORY/postfix.jsonl: file, mail_from, rcpt_tos. DIRECTORY/log is Postfix's log.
It prints "ready PORT" and goes when its input ends.

What it takes: up to 5 MB for anyone at x.example, with these exceptions, each told
in Postfix's own words:

    gone@x.example        no such user                          550 5.1.1
    busy@x.example        comes later                           450 4.2.1
    private@x.example     (and private+...@x.example) is not for everybody, 554 5.7.1
    ...@y.example         is not ours                           554 5.7.1
    from ...@refused.example, or a greeting from refused.example  554 5.7.1
    a subject with "lottery" in it                              550 5.7.1
"""

import argparse
import base64
import glob
import json
import os
import pwd
import socket
import subprocess
import sys
import threading

RULES = {
    "users": "!/^gone@/ here\n",
    "recipients": "/^busy@/ 450 4.2.1 The mailbox is busy\n/^private[@+]/ REJECT\n",
    "senders": "/@refused\\.example$/ REJECT\n",
    "helo": "/^refused\\.example$/ REJECT\n",
    "headers": "/^Subject:.*lottery/ REJECT no lotteries here\n",
}
MAIN = """compatibility_level = 3.6
mail_owner = {me}
default_privs = daemon
setgid_group = games
queue_directory = {directory}/spool
data_directory = {directory}/data
daemon_directory = {sbin}
shlib_directory = {libraries}
maillog_file = /var/log/postlog
max_use = 1000000
max_idle = 1d
in_flow_delay = 0
myhostname = mx.x.example
mydestination = x.example
local_recipient_maps = regexp:{directory}/etc/users
alias_maps =
message_size_limit = 5000000
header_checks = regexp:{directory}/etc/headers
strict_rfc821_envelopes = yes
smtpd_helo_required = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_helo_restrictions = check_helo_access regexp:{directory}/etc/helo
smtpd_sender_restrictions = check_sender_access regexp:{directory}/etc/senders
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access regexp:{directory}/etc/recipients
"""
TLS = """smtpd_tls_security_level = may
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_received_header = yes
"""
AUTH = """smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_authenticated_header = yes
"""


class Postfix:
    def __init__(self, given):
        self.directory = given.directory
        self.sbin = f"{given.postfix.rstrip('/')}/usr/lib/postfix/sbin"
        self.libraries = os.path.dirname(self.sbin)
        self.given = given
        self.lock = threading.Lock()  # of taking letters
        self.environment = dict(os.environ, MAIL_CONFIG=f"{self.directory}/etc", MAIL_LOGTAG="postfix", GENERATION="0")
        path = [self.libraries, *glob.glob(f"{self.libraries}/../*-linux-*"), *glob.glob(f"{self.libraries}/../../../lib/*-linux-*")]
        path.append(os.environ.get("LD_LIBRARY_PATH"))
        self.environment["LD_LIBRARY_PATH"] = ":".join(filter(None, path))

    def prepare(self):
        for name in ("private", "public", "incoming", "active", "deferred", "hold", "corrupt", "pid"):
            os.makedirs(f"{self.directory}/spool/{name}")
        for name in ("etc", "data"):
            os.makedirs(f"{self.directory}/{name}")
        text = MAIN + (TLS if self.given.tls else "") + (AUTH if self.given.auth else "")
        cert, key = self.given.tls or (None, None)
        text = text.format(directory=self.directory, me=pwd.getpwuid(os.getuid()).pw_name, sbin=self.sbin,
                           libraries=self.libraries, cert=cert, key=key)
        for name, words in {"main.cf": text, "master.cf": "", **RULES}.items():
            with open(f"{self.directory}/etc/{name}", "w", encoding="utf-8") as file:
                file.write(words)

    def listen(self, path, kind=socket.SOCK_STREAM):
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(f"{self.directory}/spool/{path}")
        if kind == socket.SOCK_STREAM:
            listener.listen(100)
        return listener

    def daemons(self, program, path, count, *options):
        """Programs that master(8) starts: what they serve is file 6, files 3 to 5 tell whether it lives."""
        listener = self.listen(path)
        flow, status = os.pipe(), os.pipe()
        os.set_blocking(flow[0], False)
        files = [os.dup(f) for f in (flow[0], flow[1], status[1], listener.fileno())]

        def arrange():
            high = [os.dup2(file, 100 + n) for n, file in enumerate(files)]
            for n, file in enumerate(high):
                os.dup2(file, 3 + n)
            os.closerange(7, 200)

        for _ in range(count):
            subprocess.Popen([f"{self.sbin}/{program}", "-n", os.path.basename(path), "-t", "unix", *options],
                             preexec_fn=arrange, close_fds=False, env=self.environment, cwd=f"{self.directory}/spool")
        for file in (*files, *flow, status[1]):
            os.close(file)
        listener.close()
        run(drain, status[0])

    def answer(self, path, talk):
        """A service of ours, a thread for each that comes."""
        listener = self.listen(path)

        def accept():
            while True:
                connection, _ = listener.accept()
                run(talk, connection.makefile("rb"), connection.makefile("wb", buffering=0))

        run(accept)

    def log(self):
        service = self.listen("public/postlog", socket.SOCK_DGRAM)
        while True:
            line = service.recv(65536)
            with open(f"{self.directory}/log", "ab") as file:
                file.write(line + b"\n")

    def take_letters(self):
        """A letter is whole when its owner may execute it: queue files say so. Others come, go and are renamed."""
        with self.lock:
            for name in os.listdir(f"{self.directory}/spool/incoming"):
                path = f"{self.directory}/spool/incoming/{name}"
                if os.access(path, os.X_OK):
                    self.take_letter(path, name)

    def take_letter(self, path, name):
        sender, recipients, content = None, [], []
        with open(path, "rb") as file:
            for kind, data in records(file):
                if kind == b"S":
                    sender = data.decode()
                elif kind == b"R":
                    recipients.append(data.decode())
                elif kind in b"NL":
                    content.append(data + (b"\r\n" if kind == b"N" else b""))
        with open(f"{self.directory}/{name}.eml", "wb") as file:
            file.write(b"".join(content))
        os.unlink(path)
        with open(f"{self.directory}/postfix.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps({"file": f"{name}.eml", "mail_from": sender, "rcpt_tos": recipients}) + "\n")

    def converse(self, connection):
        """One smtpd for one connection, with us between them."""
        here, there = socket.socketpair()
        with connection, here:
            child = subprocess.Popen([f"{self.sbin}/smtpd", "-S"], stdin=there, stdout=there, env=self.environment,
                                     cwd=f"{self.directory}/spool")
            there.close()
            run(pump, connection, here, lambda: None)
            pump(here, connection, self.take_letters)
            child.wait()

    def passwords(self, asked, answer):
        """Dovecot's protocol, as far as AUTH PLAIN needs it."""
        expected = self.given.auth.encode().split(b":", 1)
        answer.write(b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
        for line in asked:
            word, number, *rest = line.rstrip(b"\n").split(b"\t")
            given = [field.removeprefix(b"resp=") for field in rest if word == b"CONT" or field.startswith(b"resp=")]
            if word not in (b"AUTH", b"CONT"):
                continue
            if not given:
                answer.write(b"CONT\t%s\t\n" % number)
                continue
            login = base64.b64decode(given[0]).split(b"\0")[1:]
            answer.write(b"%s\t%s\tuser=%s\n" % (b"OK" if login == expected else b"FAIL", number, login[0]))

    def serve(self):
        self.prepare()
        run(self.log)
        self.daemons("trivial-rewrite", "private/rewrite", 1)
        self.daemons("cleanup", "public/cleanup", 4, "-z")
        self.answer("private/tlsmgr", tls_manager)
        if self.given.auth:
            self.answer("private/auth", self.passwords)
        listener = socket.create_server(("127.0.0.1", self.given.port))
        run(lambda: (sys.stdin.read(), os._exit(0)))
        print(f"ready {listener.getsockname()[1]}", flush=True)
        while True:
            run(self.converse, listener.accept()[0])


def run(what, *arguments):
    threading.Thread(target=what, args=arguments, daemon=True).start()


def drain(file):
    while os.read(file, 65536):
        pass


def records(stream):
    """Type and content of the records of a letter, up to its end (REC_TYPE_END)."""
    while True:
        kind = stream.read(1)
        length = shift = 0
        while True:
            byte = stream.read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield kind, stream.read(length)
        if kind == b"E":
            return


def pump(source, sink, before):
    """Bytes from one to the other, up to the end."""
    try:
        while data := source.recv(65536):
            before()
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def tls_manager(asked, answer):
    """Randomness for smtpd, and that sessions are not kept. Names and values end in NUL, a list of them in another."""
    answer.write(b"protocol\0tlsmgr_protocol\0\0")
    fields = {}
    while name := until_nul(asked):
        fields[name] = until_nul(asked)
        if asked.peek(1)[:1] != b"\0":
            continue
        asked.read(1)
        if fields[b"request"] == b"seed":
            seed = base64.b64encode(os.urandom(int(fields[b"size"])))
            answer.write(b"status\x000\0seed\0" + seed + b"\0\0")
        else:
            answer.write(b"status\x000\0cachable\x000\0timeout\x000\0\0")
        fields = {}


def until_nul(stream):
    word = b""
    while (byte := stream.read(1)) not in (b"", b"\0"):
        word += byte
    return word


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--postfix", default="/")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--auth")
    Postfix(parser.parse_args()).serve()


main()
