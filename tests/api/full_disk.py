"""See test_full_disk.sh: a server that lacks room, or descriptors.

The disk is a small ext4 on a loop device, which needs root. The clients keep a ledger of their own:
whatever happens, each event that was answered 200 is in the store exactly once, and what was
answered 503 is sent again with the same message ids, as SDKs do.

The journal takes a disk in files of 64 MiB, all of a file at once: the file in use is always
writable to its end, and a full disk shows when the next one is made.
"""
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from serve import KEY, Server, read_reply

MIB = 1 << 20
IMAGE_BYTES = 384 * MIB  # three files of the journal, and the parts made of them
PAD_BYTES = 6000  # random, so that parts take about as much as the journal
SEED = int(os.environ.get("KEEL_SEED", "1"))
SKIPPED = 77


def run(*command):
    return subprocess.run(command, check=False, capture_output=True, text=True)


@contextlib.contextmanager
def small_disk():
    """A folder on a disk of IMAGE_BYTES; SkipTest where there can be none."""
    with tempfile.TemporaryDirectory() as root:
        image, folder = root + "/image", root + "/disk"
        os.mkdir(folder)
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        made = run("mkfs.ext4", "-q", "-F", "-m", "0", image) if shutil.which("mkfs.ext4") else None
        if not made or made.returncode:
            raise unittest.SkipTest("mkfs.ext4 is missing")
        mounted = run("mount", "-o", "loop", image, folder)
        if mounted.returncode:
            raise unittest.SkipTest(f"no loop device can be mounted here: {mounted.stderr.strip()}")
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            unmounted = run("umount", folder)
            if unmounted.returncode:  # a process that a failed test left behind: gone with it
                run("umount", "--lazy", folder)


def free_bytes(folder):
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def fill(folder, leave):
    """A ballast file that leaves so many bytes, more or less."""
    with open(folder + "/ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(folder) - leave)
        os.fsync(file.fileno())


class Ledger:
    """What was sent, and what was answered 200."""
    def __init__(self, server):
        self.server = server
        self.rng = random.Random(SEED)
        self.unanswered = []
        self.answered = set()
        self.next = 0

    def body(self, ids, pad):
        events = [{"type": "track", "event": "E", "userId": f"u{n % 50}", "messageId": f"m{n}",
                   "properties": {"id": n, "pad": self.rng.randbytes(pad // 2).hex()}} for n in ids]
        return json.dumps({"batch": events, "writeKey": KEY}).encode()

    def send(self, ids):
        reply = self.server.request("POST", "/v1/batch", self.body(ids, PAD_BYTES))
        if reply[0] == 200:
            self.answered.update(ids)
        else:
            self.unanswered.append(ids)
        return reply

    def fresh(self, count=300):
        self.next += count
        return range(self.next - count, self.next)

    def until_refused(self, most):
        """Sends until an answer is not 200; that answer."""
        while self.next < most:
            reply = self.send(self.fresh())
            if reply[0] != 200:
                return reply
        raise AssertionError(f"{most} events were taken by a full disk")

    def again(self):
        waiting, self.unanswered = self.unanswered, []
        for ids in waiting:
            self.send(ids)

    def missing(self):
        """Compares; the server is stopped. What is wrong, or nothing."""
        ids = [e["properties"]["id"] for e in self.server.events()]
        wrong = []
        if len(ids) != len(set(ids)):
            wrong.append(f"{len(ids) - len(set(ids))} events are there twice")
        if self.answered - set(ids):
            wrong.append(f"answered and lost: {sorted(self.answered - set(ids))[:10]}")
        if set(ids) - set(range(self.next)):
            wrong.append("events are there that nobody sent")
        return wrong


class FullDisk(unittest.TestCase):
    def ready(self, server):
        status, _, body = server.request("GET", "/readyz")
        return status, json.loads(body).get("detail", "")

    def count(self, server):
        with open(server.dir + "/admin.token", encoding="ascii") as file:
            token = file.read().strip()
        status, _, body = server.request("POST", "/api/v1/query", {"query": "count customers"},
                                         {"Authorization": f"Bearer {token}"})
        self.assertEqual(status, 200, body)
        return json.loads(body)["rows"][0][0]

    def fill_up(self, server, ledger, folder):
        """Until the server refuses, and what it says of it."""
        fill(folder, 30 * MIB)
        status, headers, body = ledger.until_refused(ledger.next + 60000)
        self.assertEqual(status, 503, body)
        self.assertGreater(int(headers["retry-after"]), 0)
        status, why = self.ready(server)
        self.assertEqual(status, 503)
        self.assertIn("No space left on device", why)
        self.assertIn("it is tried again", why)
        self.assertIn("it is tried again", server.log())
        self.assertEqual(server.request("GET", "/healthz")[0], 200)
        self.assertEqual(self.count(server), 50)
        self.assertEqual(ledger.send(ledger.fresh())[0], 503)
        self.assertIsNone(server.process.poll())

    def check_after(self, server, ledger):
        """What was refused is taken now, and there once."""
        self.assertEqual(self.ready(server)[0], 200)
        ledger.again()
        self.assertEqual(ledger.unanswered, [])
        server.stop()
        self.assertEqual(ledger.missing(), [])
        self.assertEqual(len(ledger.answered), ledger.next)

    def wait_until_ready(self, server):
        for _ in range(600):
            if self.ready(server)[0] == 200:
                return
            time.sleep(0.1)

    def test_room_is_made(self):
        """The same process goes on, and nobody needs to send for that."""
        with small_disk() as folder, Server() as server:
            ledger = Ledger(server)
            self.fill_up(server, ledger, folder)
            os.unlink(folder + "/ballast")
            self.wait_until_ready(server)
            ledger.again()
            self.assertEqual(ledger.unanswered, [])
            self.fill_up(server, ledger, folder)  # once more, behind what it took meanwhile
            os.unlink(folder + "/ballast")
            self.wait_until_ready(server)
            self.assertIn("events are taken again", server.log())
            self.assertNotIn("restart", server.log())
            self.check_after(server, ledger)

    def test_stopped_while_full(self):
        with small_disk() as folder, Server() as server:
            ledger = Ledger(server)
            self.fill_up(server, ledger, folder)
            server.process.terminate()  # it cannot flush, and says so; nothing is lost by that
            self.assertEqual(server.process.wait(60), 74)
            self.assertIn("No space left on device", server.log().splitlines()[-1])
            server.process = None
            os.unlink(folder + "/ballast")
            server.start()
            self.check_after(server, ledger)

    def test_killed_while_full(self):
        with small_disk() as folder, Server() as server:
            ledger = Ledger(server)
            self.fill_up(server, ledger, folder)
            server.kill()
            server.start()  # there is no more room than before: it starts, answers, and refuses
            self.assertEqual(self.count(server), 50)
            self.assertEqual(ledger.until_refused(120000)[0], 503)
            server.kill()
            os.unlink(folder + "/ballast")
            server.start()
            self.check_after(server, ledger)


class FewDescriptors(unittest.TestCase):
    def start(self, server, most):
        """As under `ulimit -n`, which the process cannot raise."""
        os.environ["KEEL_SERVER_THREADS"] = "2"
        try:
            server.start(limit=most)
        finally:
            del os.environ["KEEL_SERVER_THREADS"]

    def test_connections_leave_the_store_its_files(self):
        """More connections than there are descriptors: each is answered, or told 503."""
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        with Server() as server, contextlib.ExitStack() as connections:
            ledger = Ledger(server)
            server.stop()
            self.start(server, 160)
            held = [connections.enter_context(server.connect()) for _ in range(200)]
            for conn in held:
                conn.sendall(request)
            statuses = [read_reply(conn)[0] for conn in held]
            self.assertEqual(set(statuses), {200, 503})
            self.assertGreater(statuses.count(200), 8)
            # Who has a connection sends, and the store opens what it needs.
            ids = ledger.fresh(500)
            body = ledger.body(ids, 20)
            taken = held[statuses.index(200)]  # which ones are is the threads' affair
            taken.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                          % len(body) + body)
            self.assertEqual(read_reply(taken)[0], 200)
            ledger.answered.update(ids)
            used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            self.assertLess(used, 160 - 32, "connections left the store too few descriptors")
            connections.close()
            self.assertEqual(ledger.send(ledger.fresh(10))[0], 200)
            server.stop()
            self.assertNotIn("Too many open files", server.log())
            self.assertEqual(ledger.missing(), [])

    def test_too_few_to_start(self):
        with Server() as server:
            server.stop()
            with self.assertRaisesRegex(RuntimeError, "raise the limit: ulimit -n"):
                self.start(server, 64)
            server.process.wait()
            server.process = None


def main():
    done = unittest.main(verbosity=1, exit=False).result
    if not done.wasSuccessful():
        sys.exit(1)
    for test, why in done.skipped:
        print(f"skipped: {test.id()}: {why}")
    sys.exit(SKIPPED if done.skipped else 0)


if __name__ == "__main__":
    main()
