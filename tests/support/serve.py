"""A started `keel serve` for tests in Python, and what they ask of it.

    with Server() as server:          # a new data directory, a source with the write key KEY
        status, headers, body = server.send(b"POST /v1/track HTTP/1.1\r\n…")
        server.ids()                  # properties.id, or messageId, of all events in the store
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

KEEL = os.environ["KEEL"]
KEY = "test_write_key"


def keel(*args):
    return subprocess.run([KEEL, *args], check=True, capture_output=True, text=True).stdout


def read_reply(conn):
    """Status, headers in lower case, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            raise ConnectionError("closed before the reply")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        more = conn.recv(65536)
        if not more:
            raise ConnectionError("closed within the reply")
        body += more
    return int(lines[0].split(" ")[1]), headers, body


class Server:
    def __init__(self, *options):
        self.dir = tempfile.mkdtemp() + "/data"
        self.options = options
        self.process = None
        self.port = 0
        keel("init", self.dir)
        keel("source", "add", "web", "--data", self.dir, "--key", KEY)

    def start(self, limit=None):
        """On the port it had before, if it had one: SDKs come back to it. limit: of descriptors."""
        under = ["prlimit", f"--nofile={limit}:{limit}"] if limit else []
        with open(self.dir + ".log", "wb") as log, open(self.dir + ".out", "wb") as out:
            self.process = subprocess.Popen(
                [*under, KEEL, "serve", "--data", self.dir, "--listen", f"127.0.0.1:{self.port}", *self.options],
                stdout=out, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = re.search(r'"the server listens".*"port":(\d+)', self.log())
            if found:
                self.port = int(found[1])
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"keel serve does not listen: {self.log()}")

    def log(self):
        with open(self.dir + ".log", encoding="utf-8") as log:
            return log.read()

    def said(self):
        """What it printed: the link to set it up."""
        with open(self.dir + ".out", encoding="utf-8") as out:
            return out.read()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        assert code == 0, f"keel serve ended with {code}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process:
            self.kill()
        shutil.rmtree(os.path.dirname(self.dir))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, raw):
        with self.connect() as conn:
            conn.sendall(raw)
            return read_reply(conn)

    def request(self, method, path, body=None, headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: keel.test\r\n"
        for name, value in (headers or {}).items():
            head += f"{name}: {value}\r\n"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        return self.send(head.encode() + b"\r\n" + (body or b""))

    def events(self):
        """All that is stored; the server must be stopped."""
        return [json.loads(line) for line in keel("export", "--data", self.dir, "--quiet").splitlines()]
