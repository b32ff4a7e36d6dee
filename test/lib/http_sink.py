#!/usr/bin/python3
"""An HTTP server on the loopback that takes what it is sent, logs it, and
answers as it is told to.

    http_sink.py DIRECTORY [--port N] [--tls CERT KEY]

Every request becomes a line of DIRECTORY/http.jsonl: method, path, headers
(names in lower case), body, at. The port stands in DIRECTORY/http.port.

How it answers is the first part of the path, with arguments in the query:

    /status/503?retry_after=2   that status (retry_after as given: seconds or a date)
    /slow?ms=300                200 after a while        /stall          never an answer
    /reset                      closes with a reset after reading the request
    /reset-early                closes with a reset at the first byte (not logged)
    /huge?bytes=100000000       200 and a body as long   /drip?ms=100    a header line at a time, for ever
    /gzip?bytes=1000000000      200 and a small body that unpacks to as much
    /garbage                    bytes that are no HTTP   /empty          closes without a byte
    /redirect?to=URL            302
    /echo/503                   that status, and the whole request: as a JSON object, and its login in
                                X-Message-Id; /echo/503-sid: its login as "sid", too; -nul: after a zero byte
    anything else               200 {"ok":true}

PUT /_behave sets a queue of answers for a path, each used once, then 200
again: {"/hook": ["/status/503?retry_after=1", "/reset"]}.
GET /_counts answers {"total": N, "connections": N, "paths": {...}}.
"""

import argparse
import asyncio
import collections
import json
import socket
import ssl
import struct
import zlib
from urllib.parse import parse_qs, urlsplit

import sink

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


class State:
    def __init__(self, log):
        self.log = log
        self.total = 0
        self.connections = 0
        self.paths = collections.Counter()
        self.behave = {}

    def counts(self):
        return {"total": self.total, "connections": self.connections, "paths": dict(self.paths)}


def answer(status, body, *headers):
    lines = [f"HTTP/1.1 {status} Status", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    def __init__(self, state):
        self.state = state
        self.buffer = b""
        self.waiting = False  # an answer is still to come: later requests stay in the buffer

    def connection_made(self, transport):
        self.transport = transport
        self.state.connections += 1

    def connection_lost(self, exc):
        self.transport = None

    def data_received(self, data):
        self.buffer += data
        if self.buffer.startswith((b"POST /reset-early", b"GET /reset-early")):
            self.reset()
            return
        while not self.waiting and self.transport and self.next_request():
            pass

    def next_request(self):
        """Takes one whole request off the buffer; false when there is none."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.buffer[:end].decode("utf-8", "surrogateescape").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if "transfer-encoding" in headers:
            self.transport.write(answer(411, b""))
            self.transport.close()
            return False
        start = end + 4
        if len(self.buffer) < start + length:
            if headers.get("expect", "").lower() == "100-continue" and len(self.buffer) == start:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        body = self.buffer[start : start + length]
        self.buffer = self.buffer[start + length :]
        self.handle(method, path, headers, body)
        return True

    def handle(self, method, path, headers, body):
        state = self.state
        if path == "/_counts":
            self.transport.write(answer(200, json.dumps(state.counts()).encode()))
            return
        if path == "/_behave":
            state.behave = {k: collections.deque(v) for k, v in json.loads(body).items()}
            self.transport.write(OK)
            return
        state.total += 1
        state.paths[path] += 1
        self.request = {"path": path, "headers": headers, "body": body.decode("utf-8", "replace")}
        state.log.add(method=method, path=path, headers=headers, body=body.decode("utf-8", "surrogateescape"))
        queue = state.behave.get(path)
        if queue:
            path = queue.popleft()
        url = urlsplit(path)
        name, _, rest = url.path[1:].partition("/")
        action = getattr(self, "do_" + name.replace("-", "_"), None)
        if action is None:
            self.transport.write(OK)
        else:
            action(rest, {k: v[-1] for k, v in parse_qs(url.query).items()})

    def do_status(self, rest, args):
        headers = [f"Retry-After: {args['retry_after']}"] if "retry_after" in args else []
        body = "" if rest in ("204", "304") else args.get("body", "{}")
        self.transport.write(answer(int(rest), body.encode(), *headers))

    def do_echo(self, rest, args):
        status, *more = rest.split("/")[0].split("-")
        login = self.request["headers"].get("authorization") or self.request["headers"].get("x-token", "none")
        body = json.dumps({**self.request, **({"sid": login} if "sid" in more else {})}).encode()
        self.transport.write(answer(int(status), b"\0" * ("nul" in more) + body, f"X-Message-Id: {login}"))

    def do_redirect(self, rest, args):
        self.transport.write(answer(302, b"", f"Location: {args['to']}"))

    def do_slow(self, rest, args):
        self.waiting = True
        asyncio.get_running_loop().call_later(int(args.get("ms", 100)) / 1000, self.finish_slow)

    def finish_slow(self):
        self.waiting = False
        if self.transport:
            self.transport.write(OK)
            self.data_received(b"")

    def do_stall(self, rest, args):
        self.waiting = True

    def do_reset(self, rest, args):
        self.reset()

    def do_empty(self, rest, args):
        self.transport.close()

    def do_garbage(self, rest, args):
        self.transport.write(b"\x00\xff\xfe not a status line \x80\r\n\r\n\x00")
        self.transport.close()

    def do_huge(self, rest, args):
        size = int(args.get("bytes", 100_000_000))
        self.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        self.waiting = True
        asyncio.get_running_loop().create_task(self.pour(size))

    async def pour(self, size):
        block = b"x" * 65536
        while size > 0 and self.transport:
            if self.transport.get_write_buffer_size() < 1 << 20:
                self.transport.write(block[:size])
                size -= len(block)
            await asyncio.sleep(0)
        self.waiting = False

    def do_gzip(self, rest, args):
        pack = zlib.compressobj(1, zlib.DEFLATED, 31)
        member = pack.compress(bytes(1 << 24)) + pack.flush()
        body = member * (int(args.get("bytes", 1_000_000_000)) >> 24)
        self.transport.write(answer(200, body, "Content-Encoding: gzip"))

    def do_drip(self, rest, args):
        self.waiting = True
        self.transport.write(b"HTTP/1.1 200 OK\r\n")
        asyncio.get_running_loop().create_task(self.drip(int(args.get("ms", 100)) / 1000))

    async def drip(self, pause):
        while self.transport:
            self.transport.write(b"X-Drip: 1\r\n")
            await asyncio.sleep(pause)

    def reset(self):
        """A close that the peer sees as RST."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        self.transport = None


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = parser.parse_args()
    tls = None
    if args.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*args.tls)
    state = State(sink.Log(f"{args.directory}/http.jsonl"))
    await sink.serve(lambda: Connection(state), args.directory, "http", args.port, tls)


if __name__ == "__main__":
    asyncio.run(main())
