"""Webhooks, archive, export and backup of a started server: see test_outgoing.sh."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

from serve import KEEL, KEY, Server, keel


class Receiver(http.server.BaseHTTPRequestHandler):
    """Checks the signature as a receiver would, and remembers the events."""
    events, secret, bad = {}, "", 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        text = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(Receiver.secret.removeprefix("whsec_"))
        want = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
        if self.headers["webhook-signature"] != want:
            Receiver.bad += 1
        event = json.loads(body)
        assert event["messageId"] == self.headers["webhook-id"]
        Receiver.events.setdefault(self.headers["webhook-id"], event)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def wait_for(condition):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


class Outgoing(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        with open(self.server.dir + "/keel.toml", "w", encoding="utf-8") as config:
            config.write("[archive]\non = true\n[webhooks]\nallow_private = true\n")
        self.folder = tempfile.mkdtemp()
        self.next = 0

    def tearDown(self):
        if self.server.process:
            self.server.stop()
        shutil.rmtree(self.folder)

    def send(self, count, **more):
        """A batch; returns when it was acknowledged."""
        batch = [{"type": "track", "event": "Order Completed" if i % 2 else "Page Seen", "userId": f"u{i % 7}",
                  "messageId": f"m{i}", "properties": {"id": i, "products": [{"sku": "a"}, {"sku": "b"}]}}
                 for i in range(self.next, self.next + count)]
        self.next += count
        body = json.dumps({"batch": batch, "writeKey": KEY, "context": {"locale": "fi-FI"}, **more}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/v1/batch", body,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            self.assertEqual(reply.status, 200)

    def metrics(self):
        with open(self.server.dir + "/admin.token", encoding="utf-8") as text:
            request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/metrics", headers={
                "Authorization": f"Bearer {text.read().strip()}"})
        with urllib.request.urlopen(request) as reply:
            return reply.read().decode()

    def exported(self, data):
        lines = keel("export", "--data", data, "--quiet").splitlines()
        return sorted(json.loads(line)["properties"]["id"] for line in lines)

    def test_webhook(self):
        receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        self.server.start()
        added = json.loads(keel("webhook", "add", f"http://127.0.0.1:{receiver.server_port}/in", "--data",
                                self.server.dir, "--events", "Order Completed", "--format", "json"))
        Receiver.secret = added["secret"]
        self.assertIn("answered 204", keel("webhook", "test", "1", "--data", self.server.dir, "--allow-private"))
        Receiver.events.clear()
        self.assertTrue(wait_for(lambda: self.send(2) or Receiver.events))  # the server has seen it
        first = self.next
        self.send(100)
        self.server.kill()
        self.server.start()
        self.send(100)
        wanted = {i for i in range(first, self.next) if i % 2}
        def missing():
            return wanted - {e["properties"].get("id") for e in Receiver.events.values()}
        wait_for(lambda: not missing())
        self.assertEqual(missing(), set(), keel("webhook", "list", "--data", self.server.dir))
        self.assertEqual(Receiver.bad, 0)
        self.assertIn('keel_webhook_deliveries_total{outcome="delivered"}', self.metrics())
        event = next(e for e in Receiver.events.values() if e["properties"]["id"] == first + 1)
        self.assertEqual(event["event"], "Order Completed")
        self.assertEqual(event["properties"]["products"], [{"sku": "a"}, {"sku": "b"}])
        self.assertEqual(event["context"]["locale"], "fi-FI")
        listed = json.loads(keel("webhook", "list", "--data", self.server.dir, "--format", "json"))
        self.assertEqual([w["state"] for w in listed], ["on"])
        with open(self.server.dir + "/admin.token", encoding="utf-8") as text:
            token = text.read().strip()
        base = f"http://127.0.0.1:{self.server.port}/api/v1/webhooks"
        def call(method, path, body=None):
            request = urllib.request.Request(base + path, body and json.dumps(body).encode(), method=method,
                                             headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request) as reply:
                text = reply.read()
                return json.loads(text) if text else None
        second = call("POST", "", {"url": "https://example.com/in", "events": ["A", "B"]})
        self.assertEqual(second["events"], ["A", "B"])
        for events, names in ((["Paid, or not", " A"], ["Paid, or not", " A"]), ("A, B", ["A", "B"]), ([], []), (None, [])):
            made = call("POST", "", {"url": "https://example.com/in", "events": events})
            self.assertEqual(made["events"], names)
            call("DELETE", f"/{made['id']}")
        for events in (5, {"A": 1}, ["A", 5], ["A\nB"], [""]):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                call("POST", "", {"url": "https://example.com/in", "events": events})
            self.assertEqual(refused.exception.code, 400, events)
        third = json.loads(keel("webhook", "add", "https://example.com/in", "--events", "A, B", "--event", "C, D", "--event", "E",
                                "--data", self.server.dir, "--format", "json"))
        self.assertEqual(third["events"], ["A", "B", "C, D", "E"])
        call("DELETE", f"/{third['id']}")
        self.assertEqual(call("POST", f"/{second['id']}/disable")["state"], "off")
        self.assertEqual(len(call("GET", "")["webhooks"]), 2)
        self.assertEqual(call("GET", f"/{second['id']}/dead"), {"dead": [], "next": None})
        self.assertEqual(call("POST", f"/{second['id']}/replay"), {"replayed": 0})
        self.assertIsNone(call("DELETE", f"/{second['id']}"))
        self.assertEqual(len(call("GET", "")["webhooks"]), 1)
        receiver.shutdown()
        receiver.server_close()

    def test_archive(self):
        self.server.start()
        begun = time.time()
        self.send(50, sentAt="2020-01-01T00:00:00.000Z")
        self.send(50)
        time.sleep(2.2)  # what the archive promises: on disk within about a second
        self.server.kill()
        self.server.start()
        self.send(10)
        self.server.stop()
        fresh = self.folder + "/fresh"
        keel("init", fresh)
        said = keel("replay", "--data", self.server.dir, "--into", fresh, "--quiet")
        self.assertIn("3 requests", said)
        self.assertIn("110 new", said)
        self.assertEqual(self.exported(fresh), list(range(110)))
        self.assertEqual(keel("export", "--data", fresh, "--quiet"),
                         keel("export", "--data", self.server.dir, "--quiet"))
        self.assertIn("0 new, 110 known", keel("replay", "--data", self.server.dir, "--quiet"))
        early = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun - 10))
        self.assertIn("0 requests", keel("replay", "--data", self.server.dir, "--into", fresh, "--quiet",
                                         "--to", early))

    def test_archive_has_what_the_connection_said(self):
        keel("source", "add", "cut", "--data", self.server.dir, "--key", "key_cut_key", "--ip", "truncate")
        self.server.start()
        agent = 'Mozilla/5.0 (X11; "}") é'.encode().decode("latin-1")
        for n, ip in enumerate((None, "198.51.100.77")):
            self.server.request("POST", "/v1/track?writeKey=key_cut_key", {
                "type": "track", "event": "A", "userId": "u", "messageId": f"a{n}",
                "context": {"ip": ip} if ip else {}}, {"User-Agent": agent})
        self.server.request("POST", "/v1/track?writeKey=key_cut_key", {
            "type": "track", "event": "A", "userId": "u", "messageId": "bot"}, {"User-Agent": "Googlebot/2.1 Mozilla/5.0"})
        self.server.stop()
        fresh = self.folder + "/fresh"
        keel("init", fresh)
        self.assertIn("3 new", keel("replay", "--data", self.server.dir, "--into", fresh, "--quiet"))
        text = keel("export", "--data", fresh, "--quiet")
        self.assertEqual(text, keel("export", "--data", self.server.dir, "--quiet"))
        self.assertEqual(text.count('"127.0.0.0"'), 2)
        self.assertEqual(text.count('"198.51.100.0"'), 1)
        self.assertEqual(text.count('"bot":true'), 1)

    def test_backup_and_export(self):
        self.server.start()
        self.send(500)
        stop = threading.Event()
        def load():
            while not stop.is_set():
                self.send(20)
        thread = threading.Thread(target=load)
        thread.start()
        promises = []
        try:
            for _ in range(4):
                promises.append(self.next - 20)  # the last batch may not be acknowledged yet
                said = keel("backup", "--data", self.server.dir, "--to", self.folder + "/b", "--quiet")
                self.assertIn("generation", said)
            during = self.exported(self.server.dir)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(during, list(range(len(during))))
        self.assertGreaterEqual(len(during), promises[-1])
        self.assertEqual(self.exported(self.server.dir), list(range(self.next)))
        self.assertEqual(keel("backup", "verify", "--from", self.folder + "/b").count("generation"), 4)
        for generation, promised in enumerate(promises, 1):
            back = f"{self.folder}/back{generation}"
            keel("restore", "--from", self.folder + "/b", "--generation", str(generation), back)
            keel("doctor", back)
            found = self.exported(back)
            self.assertEqual(found, list(range(len(found))))
            self.assertGreaterEqual(len(found), promised)
            self.assertIn("web", keel("source", "list", "--data", back))  # desk.db
        failed = subprocess.run([KEEL, "backup", "--data", self.server.dir, "--to", self.server.dir],
                                capture_output=True, text=True, check=False)
        self.assertEqual(failed.returncode, 64)
        self.assertIn("needs a folder of", failed.stderr.replace("need ", "needs "))
        bad = subprocess.run([KEEL, "export", "--data", self.server.dir, "--quiet", "--event", "None"],
                             capture_output=True, text=True, check=False)
        self.assertEqual(bad.returncode, 66)
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/api/v1/export")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
