#!/usr/bin/python3
"""Postfix's own SMTP server on the loopback, without the rest of Postfix.

    postfix_sink.py DIRECTORY --postfix WHERE [--port N]

Each connection gets an smtpd(8) in stand-alone mode, which needs no root and no
daemon beside it, configured in DIRECTORY/etc/main.cf. In that mode it looks at
the protocol alone: restrictions of recipients are not for it. What it takes it hands to a
postdrop of ours, a program beside this one's main part: that writes the message
to DIRECTORY/NNNNNN.eml and a line to DIRECTORY/postfix.jsonl: file, mail_from,
rcpt_tos. It prints "ready PORT" and goes when its input ends.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading


def records(stream):
    """Type and content of the records of a message, up to its end (REC_TYPE_END)."""
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


def postdrop(directory):
    """What smtpd hands a message to: names it, takes it, says how that went."""
    out = sys.stdout.buffer
    out.write(b"protocol\0postdrop_protocol\0queue_id\0%d\0\0" % os.getpid())
    out.flush()
    sender, recipients, content = None, [], []
    for kind, data in records(sys.stdin.buffer):
        if kind == b"S":
            sender = data.decode()
        elif kind == b"R":
            recipients.append(data.decode())
        elif kind == b"N":
            content.append(data + b"\r\n")
        elif kind == b"L":
            content.append(data)
    name = f"{os.getpid():06}.eml"
    with open(f"{directory}/{name}", "wb") as file:
        file.write(b"".join(content))
    with open(f"{directory}/postfix.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({"file": name, "mail_from": sender, "rcpt_tos": recipients}) + "\n")
    out.write(b"status\x000\0reason\0\0\0")
    out.flush()


def prepare(directory, where):
    for name in ("etc", "spool/maildrop", "data", "bin"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    with open(f"{directory}/etc/main.cf", "w", encoding="utf-8") as file:
        file.write(f"""compatibility_level = 3.6
mail_owner = mail
default_privs = daemon
setgid_group = games
queue_directory = {directory}/spool
data_directory = {directory}/data
daemon_directory = {where}/usr/lib/postfix/sbin
command_directory = {directory}/bin
shlib_directory = {where}/usr/lib/postfix
myhostname = mx.x.example
mydestination = x.example
strict_rfc821_envelopes = yes
smtpd_helo_required = yes
""")
    open(f"{directory}/etc/master.cf", "w", encoding="utf-8").close()
    with open(f"{directory}/bin/postdrop", "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {sys.executable} {os.path.abspath(__file__)} {directory} --postdrop\n')
    os.chmod(f"{directory}/bin/postdrop", 0o755)


def serve(directory, where, port):
    prepare(directory, where)
    environment = dict(os.environ, MAIL_CONFIG=f"{directory}/etc", LD_LIBRARY_PATH=f"{where}/usr/lib/postfix")
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(f"ready {listener.getsockname()[1]}", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection, directory, where, environment), daemon=True).start()


def pump(source, sink):
    """Bytes from one to the other, up to the end."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def converse(connection, directory, where, environment):
    """One smtpd for one connection; alone it wants no socket of the network, so between them is another."""
    here, there = socket.socketpair()
    with connection, here:
        child = subprocess.Popen([f"{where}/usr/lib/postfix/sbin/smtpd", "-S"], stdin=there, stdout=there,
                                 env=environment, cwd=f"{directory}/spool")
        there.close()
        threading.Thread(target=pump, args=(connection, here), daemon=True).start()
        pump(here, connection)
        child.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--postfix", default="/")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--postdrop", action="store_true")
    given = parser.parse_args()
    if given.postdrop:
        postdrop(given.directory)
    else:
        serve(given.directory, given.postfix.rstrip("/"), given.port)


main()
