"""What the loopback sinks share: where they log, how they say that they are
ready, and when they go."""

import asyncio
import json
import os
import sys
import time


class Log:
    """Appends one JSON line per thing received, written out once per turn of
    the event loop, so a burst costs few system calls and a reader waits for
    nothing."""

    def __init__(self, path):
        self.file = open(path, "ab", buffering=0)
        self.pending = []

    def add(self, **entry):
        entry["at"] = time.time()
        if not self.pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self.pending.append(json.dumps(entry, ensure_ascii=False))

    def flush(self):
        if self.pending:
            self.file.write(("\n".join(self.pending) + "\n").encode("utf-8", "surrogateescape"))
            self.pending.clear()


async def serve(factory, directory, name, port=0, tls=None):
    """Listens on the loopback, writes the port to DIRECTORY/NAME.port, prints
    "ready PORT", and serves until standard input ends (when it is a pipe, so
    a sink never outlives the test that started it) or a signal comes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", port, ssl=tls, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    path = os.path.join(directory, name + ".port")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"{port}\n")
    os.rename(path + ".new", path)
    print(f"ready {port}", flush=True)
    gone = loop.create_future()
    if not sys.stdin.isatty():
        try:
            loop.add_reader(sys.stdin, lambda: os.read(0, 4096) or gone.done() or gone.set_result(None))
        except (PermissionError, ValueError):
            pass  # a file or /dev/null: served until a signal comes
    await gone
    server.close()
