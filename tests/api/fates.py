"""See test_fates.sh. What the server was told and answered is kept here, outside it; at the end each
event is found where the answer said: once in the store, or once in the quarantine."""
import base64
import http.client
import json
import os
import random
import socket
import subprocess
import threading
import time
import unittest

from serve import KEEL, KEY, Server, keel

BASIC = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
PLAN = """
unplanned_events = "quarantine"
[event.Order.property]
total = { type = "number", required = true, class = "public" }
note = { type = "string", class = "personal" }
"""
LAX = "[event.Order.property]\ntotal = {}\n"
SUM = ("accepted", "duplicate", "quarantined", "refused")


def order(number, total, **more):
    return {"type": "track", "event": "Order", "userId": f"u{number % 7}", "messageId": f"m{number}",
            "timestamp": "2026-01-05T10:00:00.000Z", "properties": {"id": number, "total": total}, **more}


class Local(http.client.HTTPConnection):
    """Through DIR/keel.sock, where no token is asked for."""

    def __init__(self, path):
        super().__init__("keel.sock", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Fates(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.server.start()

    def tearDown(self):
        self.server.__exit__()

    def ask(self, method, path, body=None, status=200):
        conn = Local(self.server.dir + "/keel.sock")
        conn.request(method, path, body)
        reply = conn.getresponse()
        text = reply.read()
        conn.close()
        self.assertEqual(reply.status, status, text)
        return json.loads(text)

    def post(self, events, **headers):
        return self.server.request("POST", "/v1/batch", {"batch": events},
                                   {"Authorization": BASIC, **headers})

    def keel(self, *args):
        return keel(*args, "--data", self.server.dir)

    def plan(self, text):
        return self.ask("PUT", "/api/v1/plan", text)["version"]

    def totals(self):
        total = self.ask("GET", "/api/v1/sources/web/fate")["total"]
        self.assertEqual(total["received"], sum(total[name] for name in SUM), total)
        self.assertEqual(total["unaccounted"], 0)
        return total

    def quarantined(self, **params):
        """All pages of the list."""
        query = "".join(f"&{name}={value}" for name, value in params.items())
        cursor, rows = "0", []
        while cursor:
            page = self.ask("GET", f"/api/v1/quarantine?limit=7&cursor={cursor}{query}")
            rows += page["events"]
            cursor = page.get("next_cursor")
        self.assertEqual(len(rows), len({row["id"] for row in rows}))
        return rows

    # ---- one event ----

    def test_the_way_of_an_event(self):
        self.plan(PLAN)
        bad = order(2, "5", context={"ip": "192.0.2.1"})
        status, _, body = self.post([order(1, 5), bad, {"type": "track", "event": "Else", "userId": "u"},
                                     {"type": "track", "event": "Order", "messageId": "m4"}])
        self.assertEqual((status, body), (200, b'{"success":true}'))
        rows = self.quarantined()
        self.assertEqual([row["reasons"][0]["code"] for row in rows],
                         ["wrong_type", "unplanned_event", "neither user_id nor anonymous_id"])
        self.assertEqual(rows[0]["reasons"][0]["message"], "total: is a string, must be a number")
        self.assertEqual((rows[0]["event"], rows[0]["user"]), ("Order", "u2"))
        shown = self.ask("GET", f"/api/v1/quarantine/{rows[0]['id']}?raw=true")
        self.assertEqual(shown["json"], bad)
        self.post([order(1, 5), bad])  # what is known is a duplicate, there as here
        total = self.totals()
        self.assertEqual([total[name] for name in SUM], [1, 2, 3, 0])
        self.assertEqual(len(self.quarantined()), 3)
        # by the same plan nothing changes; by another what passes is stored, with its time
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay"),
                         {"accepted": 0, "duplicate": 0, "quarantined": 3})
        self.plan(LAX)
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay?event=Order"),
                         {"accepted": 1, "duplicate": 0, "quarantined": 1})
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay?event=Order"),
                         {"accepted": 0, "duplicate": 0, "quarantined": 1})
        self.post([bad])
        total = self.totals()
        self.assertEqual([total[name] for name in SUM], [1, 3, 3, 0])
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/discard?id=%d" % rows[2]["id"]),
                         {"discarded": 1})
        self.assertEqual([row["state"] for row in self.quarantined(state="all")],
                         ["replayed", "open", "discarded"])
        self.server.stop()
        stored = {e["properties"]["id"]: e for e in self.server.events()}
        self.assertEqual(sorted(stored), [1, 2])
        self.assertEqual(stored[2]["timestamp"][:19], "2026-01-05T10:00:00")
        self.server.start()
        self.assertEqual(self.totals(), {**total})  # counters survive a clean stop

    def test_what_says_neither_id_nor_time_is_one_of_its_own(self):
        self.plan('unplanned_events = "quarantine"')
        plain = {"type": "track", "event": "A", "userId": "u"}
        broken, named = {"type": "track", "event": "A"}, {"type": "track", "event": "A", "messageId": "n"}
        dated = {**broken, "timestamp": "2026-01-05T10:00:00.000Z"}
        self.post([plain, plain, broken, broken, named, named, dated, dated])
        self.post([plain, broken, named, dated])
        total = self.totals()
        # what is named or dated is one, however often it is sent
        self.assertEqual([total[name] for name in SUM], [0, 4, 8, 0])
        for _ in range(2):  # by the same plan: each stays what it is
            self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay"),
                             {"accepted": 0, "duplicate": 0, "quarantined": 8})
        self.plan("")
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay"),
                         {"accepted": 3, "duplicate": 0, "quarantined": 5})
        self.assertEqual(len(self.quarantined()), 5)
        self.server.stop()
        self.assertEqual(len(self.server.events()), 3)

    def test_what_the_connection_said_is_replayed(self):
        """As the source's policy keeps it; a server's address is not its customer's."""
        keel("source", "add", "cut", "--data", self.server.dir, "--key", "key_cut_key", "--ip", "truncate")
        keel("source", "add", "none", "--data", self.server.dir, "--key", "key_drop_key", "--ip", "drop")
        self.plan('unplanned_events = "quarantine"')
        device, backend = "Mozilla/5.0 (X11) \"q\"", "analytics-node/3"
        contexts = {"": None, "d": {"direct": True}, "o": {"ip": "198.51.100.77"}}
        for key in (KEY, "key_cut_key", "key_drop_key"):
            for agent in (device, backend):
                for word, context in contexts.items():
                    event = {"type": "track", "event": "A", "userId": "u", "messageId": key + agent + word,
                             "properties": {"of": f"{key} {agent[0]}{word}"}}
                    if context:
                        event["context"] = context
                    self.server.request("POST", "/v1/track", event, {
                        "Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
                        "User-Agent": agent})
        self.assertEqual(len(self.quarantined()), 18)
        self.plan("")
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay")["accepted"], 18)
        self.server.stop()
        found = {e["properties"]["of"]: (e.get("context", {}).get("ip"), e.get("context", {}).get("userAgent"))
                 for e in self.server.events()}
        here, there = "127.0.0.1", "198.51.100.77"
        for key, cut in ((KEY, lambda ip: ip), ("key_cut_key", lambda ip: ip.rsplit(".", 1)[0] + ".0"),
                         ("key_drop_key", lambda _: None)):
            self.assertEqual(found[key + " M"], (cut(here), device))
            self.assertEqual(found[key + " Md"], (cut(here), device))
            self.assertEqual(found[key + " Mo"], (cut(there), device))
            self.assertEqual(found[key + " a"], (None, None))
            self.assertEqual(found[key + " ad"], (cut(here), None))
            self.assertEqual(found[key + " ao"], (cut(there), None))

    def test_merge(self):
        """A merge of a user and a visitor joins them, in either order; others wait in quarantine."""
        def merge(number, *pairs):
            reply = self.server.request("POST", "/v1/merge", {
                "type": "merge", "messageId": f"merge{number}",
                "mergeProperties": [{"type": kind, "value": value} for kind, value in pairs]},
                {"Authorization": BASIC})
            self.assertEqual((reply[0], reply[2]), (200, b'{"success":true}'))
        self.post([{"type": "track", "event": "A", "messageId": f"x{n}", **who} for n, who in enumerate((
            {"userId": "u1"}, {"anonymousId": "a1"}, {"anonymousId": "a2"}, {"anonymousId": "a3"}))])
        customers = lambda: self.ask("POST", "/api/v1/query", json.dumps({
            "query": 'count customers where did "A"'}))["rows"][0][0]
        self.assertEqual(customers(), 4)
        merge(1, ("user_id", "u1"), ("anonymous_id", "a1"))
        self.assertEqual(customers(), 3)
        merge(2, ("anonymousId", "a2"), ("userId", "u1"))
        self.assertEqual(customers(), 2)
        merge(3, ("email", "u1@example.test"), ("anonymous_id", "a3"))
        merge(4, ("user_id", "u1"))
        merge(5, ("user_id", "u1"), ("user_id", "u2"))
        merge(6)
        self.assertEqual(customers(), 2)
        rows = self.quarantined()
        self.assertEqual([row["reasons"][0]["code"] for row in rows],
                         ["merge of other identifiers than a user_id and an anonymous_id"] * 4)
        total = self.totals()
        self.assertEqual([total[name] for name in SUM], [6, 0, 4, 0])

    def test_limits_of_the_quarantine(self):
        self.server.stop()
        with open(self.server.dir + "/keel.toml", "w", encoding="utf-8") as file:
            file.write("[quarantine]\nmax_events = 3\n")
        self.server.start()
        self.plan('unplanned_events = "quarantine"')
        answers = [self.post([{"type": "track", "event": "A", "userId": "u", "messageId": f"q{n}"}])[0]
                   for n in range(5)]
        self.assertEqual(answers, [200, 200, 200, 503, 503])
        self.assertEqual(self.ask("GET", "/api/v1/quarantine")["limit"], 3)
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/discard?limit=1"), {"discarded": 1})
        self.assertEqual(self.post([{"type": "track", "event": "A", "userId": "u", "messageId": "q3"}])[0], 200)

    def test_what_the_path_and_the_batch_said_is_replayed(self):
        self.plan('unplanned_events = "quarantine"')
        self.server.request("POST", "/v1/track", {"event": "A", "userId": "u", "messageId": "p"},
                            {"Authorization": BASIC})
        self.server.request("POST", "/v1/batch",
                            {"batch": [{"type": "track", "event": "B", "userId": "u", "messageId": "q",
                                        "timestamp": "2026-01-05T10:00:00.000Z"}],
                             "context": {"channel": "kiosk"}, "sentAt": "2026-01-05T11:00:00.000Z"},
                            {"Authorization": BASIC})
        received = [row["received_at"] for row in self.quarantined()]
        self.plan("")
        self.assertEqual(self.ask("POST", "/api/v1/quarantine/replay")["accepted"], 2)
        self.server.stop()
        stored = {e["event"]: e for e in self.server.events()}
        self.assertEqual(stored["A"]["timestamp"][:23], received[0][:23])
        self.assertEqual(stored["B"]["context"]["channel"], "kiosk")
        # one hour before it was sent, by the sender's clock: one hour before it arrived
        hour = int(received[1][11:13])
        self.assertEqual(int(stored["B"]["timestamp"][11:13]), (hour - 1) % 24)

    def test_strict_mode(self):
        self.plan(PLAN)
        events = [order(1, 5), order(2, "5"), order(3, None)]
        status, _, body = self.post(events, **{"X-Strict-Mode": "1"})
        body = json.loads(body)
        self.assertEqual((status, body["code"]), (400, "violations"))
        self.assertEqual([v["item"] for v in body["violations"]], [1, 2])
        self.assertEqual(body["violations"][1]["details"][0]["message"], "total: is missing")
        self.assertEqual(self.quarantined(), [])
        total = self.totals()
        self.assertEqual((total["refused"], total["received"]), (3, 3))

    # ---- commands ----

    def test_commands(self):
        path = self.server.dir + "/../plan.toml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(PLAN)
        self.assertIn("version 1", self.keel("plan", "import", path, "--who", "tester"))
        for _ in range(200):  # the running server takes it within a second
            if self.ask("GET", "/api/v1/plan")["version"] == 1:
                break
            time.sleep(0.02)
        self.post([order(i, i if i % 3 else "x", context={"traits": {"email": "a@b.example"}})
                   for i in range(1, 31)])
        self.assertIn("10", self.keel("source", "stats", "web"))
        listed = self.keel("quarantine", "list", "--format", "csv", "--limit", "4", "--reason", "wrong_type")
        self.assertEqual(len(listed.strip().splitlines()), 5)
        shown = self.keel("quarantine", "show", "1")
        self.assertIn("total: is a string, must be a number", shown)
        self.assertNotIn("a@b.example", shown)
        self.assertIn("a@b.example", self.keel("quarantine", "show", "1", "--raw"))
        self.assertIn("tester", self.keel("plan", "versions"))
        self.assertIn("10 are still", self.keel("quarantine", "replay"))
        proposed = self.keel("plan", "infer")
        self.assertIn('total = { type = "integer", required = true', proposed)
        self.assertIn('"traits.email" = { type = "string", class = "personal"', proposed)
        self.server.stop()
        self.assertEqual(proposed, self.keel("plan", "infer"))
        with open(path, "w", encoding="utf-8") as f:
            f.write(LAX)
        self.keel("plan", "import", path)
        self.assertIn("10 stored, 0 were", self.keel("quarantine", "replay"))  # without a server
        self.assertIn("0 stored, 0 were", self.keel("quarantine", "replay"))
        self.assertEqual(len(self.server.events()), 30)
        stats = json.loads(self.keel("source", "stats", "web", "--format", "json"))
        row = dict(zip([c["name"] for c in stats["columns"]], stats["rows"][0]))
        self.assertEqual((row["received"], row["accepted"], row["quarantined"]), (30, 20, 10))

    def test_tail(self):
        self.plan(PLAN)
        with subprocess.Popen([KEEL, "tail", "web", "--data", self.server.dir, "--fate",
                               "quarantined,accepted"], stdout=subprocess.PIPE, text=True) as tail:
            timer = threading.Timer(60, tail.kill)
            timer.start()
            self.post([order(1, 5, properties={"total": 5, "note": "for Ann"}), order(2, "5"), order(1, 5)])
            lines = [tail.stdout.readline() for _ in range(2)]
            self.assertRegex(lines[0], r"^\d\d:\d\d:\d\d\.?\d*Z  web  accepted  track  Order  user=u1  \{.*")
            self.assertIn('"note":"‹personal›"', lines[0])
            self.assertIn("quarantined  track  Order  user=u2  ! total: is a string, must be a number", lines[1])
            self.server.stop()  # ends the stream
            self.assertEqual(tail.stdout.read(), "")
            timer.cancel()
            self.server.start()

    # ---- kill -9 ----

    def send_all(self, events, said):
        """Sends in batches until each was answered; the server may die at any moment."""
        for at in range(0, len(events), 5):
            while True:
                try:
                    status, _, _ = self.post(events[at:at + 5])
                    if status == 200:
                        said.extend(e["messageId"] for e in events[at:at + 5])
                        break
                except (OSError, ValueError, IndexError):
                    pass
                time.sleep(0.01)

    def test_killed_under_load(self):
        rand = random.Random(7)
        self.plan(PLAN)
        senders, said = [], []
        for s in range(4):
            events = [order(1000 * s + i, i if i % 2 else str(i)) for i in range(300)]
            senders.append(threading.Thread(target=self.send_all, args=(events, said)))
        for sender in senders:
            sender.start()
        for kill in range(10):  # by how far they are, not by the clock: whatever the machine's speed
            while len(said) < 100 * kill + rand.randrange(60):
                self.assertTrue(any(sender.is_alive() for sender in senders))
                time.sleep(0.001)
            self.server.kill()
            self.server.start()
        for sender in senders:
            sender.join()
        self.assertEqual(len(said), 1200)
        held = self.quarantined()
        self.assertEqual(len(held), 600)
        self.totals()
        # killed within replays: each event is stored once all the same
        self.plan(LAX)
        for _ in range(4):
            replay = threading.Thread(target=self.try_replay)
            replay.start()
            time.sleep(rand.uniform(0.02, 0.15))
            self.server.kill()
            replay.join()
            self.server.start()
        self.ask("POST", "/api/v1/quarantine/replay")
        self.assertEqual(self.quarantined(), [])
        self.server.stop()
        stored = sorted(e["properties"]["id"] for e in self.server.events())
        self.assertEqual(stored, sorted(int(message[1:]) for message in said))

    def try_replay(self):
        try:
            self.ask("POST", "/api/v1/quarantine/replay")
        except (OSError, http.client.HTTPException, AssertionError):
            pass


if __name__ == "__main__":
    unittest.main(verbosity=2)
