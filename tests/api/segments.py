"""See test_segments.sh."""
import http.server
import json
import socket
import sqlite3
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from serve import KEEL, KEY, Server, keel


class Client:
    """What the tests ask of a server; keeps the token."""
    def __init__(self, server):
        self.server = server
        with open(server.dir + "/admin.token", encoding="utf-8") as text:
            self.token = text.read().strip()
        self.next = 0

    def raw(self, method, path, body=None, token=True):
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/api/v1/segments{path}", data,
                                         method=method, headers=headers)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def call(self, method, path, body=None):
        status, text = self.raw(method, path, body)
        if status >= 400:
            raise AssertionError(f"{method} {path}: {status} {text}")
        return json.loads(text) if text else None

    def save(self, name, query, **more):
        return self.call("POST", "?wait=20", {"name": name, "query": query, **more})

    def send(self, *events):
        """Acknowledged when it returns."""
        batch = []
        for event in events:
            batch.append({"type": "track", "messageId": f"m{self.next}", **event})
            self.next += 1
        body = json.dumps({"writeKey": KEY, "batch": batch}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/v1/batch", body,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            assert reply.status == 200

    def ask(self, question):
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/api/v1/query", question.encode(),
                                         headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read())["rows"]

    def segments_of(self, who, token=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/api/v1/profiles/{who}/segments",
                                         headers={"Authorization": f"Bearer {token or self.token}"})
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read())["segments"]

    def members(self, segment):
        found, cursor = [], ""
        while True:
            page = self.call("GET", f"/{segment}/members?limit=3{cursor}")
            found += [m.get("user_id") or m["anonymous_id"] for m in page["members"]]
            assert len(found) <= page["size"]
            if "next_cursor" not in page:
                return sorted(found)
            cursor = f"&cursor={page['next_cursor']}"


def wait_for(condition):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def order(user, revenue=10, **more):
    return {"event": "Order", "userId": user, "properties": {"revenue": revenue}, **more}


class Routes(unittest.TestCase):
    def setUp(self):
        self.server = Server().start()
        self.client = Client(self.server)
        self.client.send(*[order(f"u{i}", 100 * i) for i in range(8)], {"event": "Seen", "anonymousId": "a1"})

    def tearDown(self):
        self.server.stop()

    def refused(self, method, path, body, status, words):
        got, text = self.client.raw(method, path, body)
        self.assertEqual(got, status, text)
        self.assertIn(words, json.loads(text)["detail"])

    def test_life(self):
        c = self.client
        rich = c.save("Rich", 'count customers where sum("Order".revenue) > 300', purpose="thank",
                      description="über", owners={"marketing": "M", "it": "I"})
        self.assertEqual((rich["state"], rich["size"], rich["version"]), ("live", 4, 1))
        self.assertNotIn("filled", rich)
        self.assertEqual(rich["query"], 'sum("Order".revenue) > 300')
        self.assertEqual(rich["owners"], {"marketing": "M", "it": "I"})
        again = c.save("Same", rich["json"])
        self.assertEqual((again["query"], again["hash"]), (rich["query"], rich["hash"]))
        self.assertEqual(c.members("Rich"), ["u4", "u5", "u6", "u7"])
        poor = c.save("Poor", 'did "Order" and not in segment "Rich"')
        self.assertEqual(poor["names"], ["Rich"])
        self.assertEqual(c.members(poor["id"]), ["u0", "u1", "u2", "u3"])
        self.assertEqual(c.call("GET", "/Rich")["named_by"], ["Poor"])
        self.assertEqual(len(c.call("GET", "")["segments"]), 3)
        overlap = c.call("GET", f"/overlap?ids={rich['id']},{poor['id']}")
        self.assertEqual(overlap["overlap"], [[4, 0], [0, 4]])
        changed = c.call("PUT", f"/{rich['id']}?wait=20", {"query": 'sum("Order".revenue) > 500', "version": 1})
        self.assertEqual((changed["version"], changed["size"], changed["purpose"]), (2, 2, "thank"))
        self.assertTrue(wait_for(lambda: c.call("GET", "/Poor")["size"] == 6))  # what names it follows
        self.assertEqual([v["version"] for v in c.call("GET", "/Rich/versions")["versions"]], [2, 1])
        same = c.call("PUT", "/Rich", {"query": 'sum("Order".revenue)   >   500'})
        self.assertEqual(same["version"], 2)
        self.assertEqual(c.call("GET", "/Rich/history")["sizes"][-1]["size"], 2)
        self.assertIsNone(c.call("DELETE", "/Poor"))
        self.assertIsNone(c.call("DELETE", "/Rich"))
        last = c.call("GET", f"/{rich['id']}/versions")["versions"][0]
        self.assertTrue(last["removed"])
        self.refused("GET", "/Rich", None, 404, "there is no segment")
        self.assertEqual(c.save("Rich", "identified")["size"], 8)  # the name is free again

    def test_members_follow(self):
        c = self.client
        c.save("Buyers", 'did "Order"')
        c.save("Visitors", "anonymous")
        c.send(order("new"), {"event": "Seen", "anonymousId": "a2"})
        self.assertTrue(wait_for(lambda: "new" in c.members("Buyers")))
        self.assertTrue(wait_for(lambda: c.members("Visitors") == ["a1", "a2"]))
        c.send({"type": "identify", "anonymousId": "a2", "userId": "new"})
        self.assertTrue(wait_for(lambda: c.members("Visitors") == ["a1"]))
        self.assertEqual(c.ask("count customers where in segment \"Visitors\""), [[1]])
        self.assertEqual(c.ask("list customers where in segment \"Buyers\" and not in segment \"Visitors\" limit 1"),
                         [["u0"]])

    def test_segments_of_a_customer(self):
        c = self.client
        buyers = c.save("Buyers", 'did "Order"')
        c.save("Feet", 'trait shoe = 9 and trait email matches "@"')
        c.save("Nobody", 'did "Refund"')
        first, = c.segments_of("u1")
        self.assertEqual((first["name"], first["exact"], first["since"]), ("Buyers", False, buyers["created_at"]))
        c.send(order("late"), {"type": "identify", "userId": "late", "traits": {"shoe": 9, "email": "l@example.com"}})
        self.assertTrue(wait_for(lambda: sum(one["exact"] for one in c.segments_of("late")) == 2))
        told = c.segments_of("user_id=late")
        self.assertTrue(all(one["since"] > buyers["created_at"] for one in told))
        c.send({"type": "identify", "userId": "late", "traits": {"shoe": 8}})
        self.assertTrue(wait_for(lambda: [one["name"] for one in c.segments_of("late")] == ["Buyers"]))
        left = c.segments_of("late")
        c.send({"type": "identify", "userId": "late", "traits": {"shoe": 9}})
        since = lambda: {one["name"]: one["since"] for one in c.segments_of("late") if one["exact"]}
        self.assertTrue(wait_for(lambda: since().get("Feet", "") > told[1]["since"]))  # once it is on disk
        self.assertEqual(since()["Buyers"], left[0]["since"])
        with self.assertRaisesRegex(urllib.error.HTTPError, "404"):
            c.segments_of("nobody")
        # Who may not see e-mail addresses is not told what somebody's address looks like.
        masked = keel("key", "add", "masked", "--scope", "profile.read", "--data", self.server.dir).split()[-1]
        self.assertEqual([one["name"] for one in c.segments_of("late", masked)], ["Buyers"])

    def test_exports(self):
        c = self.client
        c.save("All", "identified or anonymous")
        c.send({"type": "identify", "anonymousId": "a9", "userId": "u1"}, order('x",y'))
        self.assertTrue(wait_for(lambda: c.call("GET", "/All")["size"] == 10))
        lines = c.raw("GET", "/All/export?format=csv")[1].splitlines()
        self.assertEqual(lines[0], "customer,user_id,anonymous_id")
        self.assertEqual(len(lines), 11)
        self.assertIn('"x"",y"', "\n".join(lines))
        rows = [json.loads(line) for line in c.raw("GET", "/All/export")[1].splitlines()]
        self.assertIn(["a9"], [r.get("anonymous_ids") for r in rows if r.get("user_id") == "u1"])
        self.assertEqual(sum("anonymous_id" in r for r in rows), 1)

    def test_previews(self):
        c = self.client
        saved = c.save("Rich", 'sum("Order".revenue) > 300')
        preview = c.call("POST", "/preview", {"query": 'sum("Order".revenue) between 200 and 450', "id": saved["id"],
                                              "sample": 1})
        self.assertEqual((preview["size"], preview["customers"]), (3, 9))
        against = preview["against"]
        self.assertEqual((against["size"], against["stay"], against["enter"], against["leave"]), (4, 1, 2, 3))
        self.assertEqual(against["sample_enter"], [{"customer": 2, "user_id": "u2"}])
        past = c.call("POST", "/preview", {"query": saved["json"], "at": "2001-01-01", "id": saved["id"]})
        self.assertEqual((past["size"], past["against"]["size"]), (0, 0))
        odd = c.call("POST", "/preview", {"query": 'did "Ordr"'})
        self.assertIn("Order", odd["notes"][0])

    def test_odd_input(self):
        c = self.client
        c.save("A", "identified")
        c.save("B", 'in segment "A"')
        good = {"name": "N", "query": "identified"}
        for body, words in [
                (b"", "JSON"), (b"[]", "object"), (b"{", "line 1"), ({"name": "N"}, "no condition"),
                ({**good, "name": ""}, "no name"), ({**good, "name": "7"}, "number"), ({**good, "name": 7}, "text"),
                ({**good, "name": "x" * 201}, "200"), ({**good, "name": " x"}, "space"),
                ({**good, "name": "a\u0000b"}, "control"), ({**good, "name": "a\nb"}, "line break"),
                ({**good, "query": ""}, "empty"), ({**good, "query": "did"}, "line 1, column"),
                ({**good, "query": 'in segment "Nobody"'}, "Nobody"), ({**good, "query": 'in segment "N"'}, "N"),
                ({**good, "query": 'total of count("Order")'}, "expected"), ({**good, "query": {}}, "form"),
                ({**good, "query": {"form": "sessions"}}, "query"), ({**good, "query": "count customers"}, "missing"),
                ({**good, "owners": 1}, "owners"), ({**good, "owner": "x"}, "owner"),
                ({**good, "description": "x" * 4001}, "4000"), ({**good, "version": "1"}, "version")]:
            self.refused("POST", "", body, 400, words)
        self.refused("POST", "", {**good, "query": "identified and " * 9000 + "identified"}, 413, "")
        self.refused("POST", "", {**good, "name": "A"}, 409, "already")
        self.refused("POST", "?wait=99", good, 400, "wait")
        self.refused("PUT", "/A", {"query": 'in segment "B"'}, 400, "itself")
        self.refused("PUT", "/A", {"name": "C"}, 409, '"B"')
        self.refused("PUT", "/A", {"version": 9, "purpose": "x"}, 409, "version 1")
        self.refused("DELETE", "/A", None, 409, '"B"')
        self.refused("GET", "/B2", None, 404, "did you mean")
        self.refused("GET", "/99", None, 404, "no segment")
        self.refused("GET", "/99/versions", None, 404, "no segment")
        for path in "/A/members?limit=0", "/A/members?limit=x", "/A/members?cursor=-1", "/A/export?format=xls", \
                "/A/history?from=soon":
            self.refused("GET", path, None, 400, "")
        self.refused("POST", "/preview", {"id": 1}, 400, "query")
        self.refused("POST", "/preview", {"query": "identified", "id": 99}, 404, "segment")
        self.refused("POST", "/preview", {"query": "identified", "at": "soon"}, 400, "time")
        self.refused("POST", "/preview", {"query": 'in segment "Z"'}, 400, "Z")
        self.refused("POST", "/preview", {"query": "identified", "sample": 101}, 400, "sample")
        deep = "identified"
        for level in range(8):
            status, text = c.raw("POST", "", {"name": f"D{level}", "query": deep})
            self.assertEqual(status, 201, text)
            deep = f'in segment "D{level}"'
        self.refused("POST", "", {"name": "D8", "query": deep}, 400, "deeper")
        self.refused("PUT", "/D0", {"query": 'in segment "A"'}, 400, "deeper")
        self.assertEqual(c.raw("GET", "", token=False)[0], 401)


class Restarts(unittest.TestCase):
    def test_members_after_a_restart(self):
        server = Server().start()
        try:
            c = Client(server)
            c.send(*[order(f"u{i}", i) for i in range(20)])
            names = ["Many", "Few", "Recent"]
            queries = ['did "Order"', 'sum("Order".revenue) > 12', 'did "Order" during last 1 day']
            for name, query in zip(names, queries):
                c.save(name, query)
            for ends in server.kill, server.stop:
                c.send(*[order(f"v{c.next}", 15) for _ in range(3)])
                ends()
                server.start()
                self.assertTrue(wait_for(lambda: all(s["state"] == "live" for s in c.call("GET", "")["segments"])))
                for name, query in zip(names, queries):
                    wanted = [[c.call("GET", f"/{name}")["size"]]]
                    self.assertEqual(c.ask(f"count customers where {query}"), wanted, name)
            server.stop()
            keel("query", "--data", server.dir, 'count customers where in segment "Few"')
        finally:
            if server.process:
                server.kill()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes webhooks; refuses some once, so that they come again."""
    told, seen = [], set()

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert event["messageId"] == self.headers["webhook-id"]
        refused = event["messageId"] not in Receiver.seen and len(Receiver.seen) % 50 == 10
        Receiver.seen.add(event["messageId"])
        if not refused:
            Receiver.told.append(event)
        self.send_response(500 if refused else 204)
        self.end_headers()

    def log_message(self, *args):
        pass


class Stream(threading.Thread):
    """Follows the stream of changes through whatever happens to the server, as a browser does."""
    def __init__(self, client, query=""):
        super().__init__(daemon=True)
        self.client, self.query, self.last, self.stopping = client, query, None, False
        self.told, self.events = [], []

    def run(self):
        while not self.stopping:
            try:
                self.follow()
            except OSError:
                time.sleep(0.02)

    def follow(self):
        with self.client.server.connect() as conn:
            head = (f"GET /api/v1/segments/stream{self.query} HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Bearer {self.client.token}\r\n")
            if self.last is not None:
                head += f"Last-Event-ID: {self.last}\r\n"
            conn.sendall(head.encode() + b"\r\n")
            conn.settimeout(1)
            text = b""
            while not self.stopping:
                try:
                    more = conn.recv(65536)
                except socket.timeout:
                    continue
                if not more:
                    return
                text += more
                while b"\n\n" in text:
                    message, text = text.split(b"\n\n", 1)
                    self.take(message.decode())

    def take(self, message):
        if '"id":"chg_' not in message:
            return
        fields = {}
        for line in message.splitlines():
            name, _, value = line.partition(": ")
            fields[name] = value
        self.last = int(fields["id"])
        self.events.append(fields["event"])
        self.told.append(json.loads(fields["data"]))


class Told(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        with open(self.server.dir + "/keel.toml", "w", encoding="utf-8") as config:
            config.write("[webhooks]\nallow_private = true\n")
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.server.start()
        Receiver.told, Receiver.seen = [], set()

    def tearDown(self):
        if self.server.process:
            self.server.stop()
        self.receiver.shutdown()
        self.receiver.server_close()

    def once_each(self, changes, key, wanted):
        """Every customer entered by one change, however often that was told."""
        ids = {}
        for change in changes:
            ids.setdefault(key(change), set()).add(change.get("messageId") or change["id"])
        self.assertEqual(set(ids), wanted)
        self.assertEqual({user: len(told) for user, told in ids.items() if len(told) != 1}, {})

    def test_once_through_kills(self):
        c = Client(self.server)
        c.send(order("first"))
        c.save("Buyers", 'did "Order"')
        url = f"http://127.0.0.1:{self.receiver.server_port}/in"
        added = json.loads(keel("webhook", "add", url, "--data", self.server.dir, "--segments", "Buyers",
                                "--format", "json"))
        self.assertEqual((added["segments"], "events" in added), ([1], False))
        stream = Stream(c, "?segment=Buyers&after=0")
        stream.start()
        sent = set()

        def buy(count):
            users = [f"u{c.next + i}" for i in range(count)]
            c.send(*[order(user) for user in users])
            sent.update(users)
        self.assertTrue(wait_for(lambda: buy(1) or Receiver.told))  # the server has seen the webhook
        told_from = {event["userId"] for event in Receiver.told}
        unseen = sent - told_from
        for round_ in range(4):
            for _ in range(10):
                buy(7)
            time.sleep(0.01 * round_)  # dies at another moment of what it does
            self.server.kill()
            self.server.start()
        buy(5)
        self.assertTrue(wait_for(lambda: {e["user_id"] for e in stream.told} == sent))
        self.assertTrue(wait_for(lambda: sent - unseen <= {e["userId"] for e in Receiver.told}),
                        keel("webhook", "list", "--data", self.server.dir))
        self.once_each(stream.told, lambda e: e["user_id"], sent)
        self.assertEqual(set(stream.events), {"entered"})
        self.once_each([e for e in Receiver.told if e["userId"] not in unseen], lambda e: e["userId"],
                       sent - unseen)
        event = Receiver.told[-1]
        self.assertEqual((event["event"], event["properties"]["segment"], event["properties"]["segment_id"]),
                         ("Segment Entered", "Buyers", 1))
        stream.stopping = True
        stream.join()

    def test_causes(self):
        c = Client(self.server)
        c.save("Buyers", 'did "Order"')
        c.save("Visitors", "anonymous and did \"Seen\"")
        stream = Stream(c)
        stream.start()
        told = lambda: [(event, t["segment"], t.get("user_id") or t["anonymous_id"], t["cause"])
                        for event, t in zip(stream.events, stream.told)]
        self.assertTrue(wait_for(lambda: c.send(order(f"w{c.next}")) or stream.told))
        c.send({"event": "Seen", "anonymousId": "a1"})
        self.assertTrue(wait_for(lambda: ("entered", "Visitors", "a1", "event") in told()))
        c.send({"type": "identify", "anonymousId": "a1", "userId": "u1"})
        self.assertTrue(wait_for(lambda: ("left", "Visitors", "a1", "merged") in told()))
        c.call("PUT", "/Buyers?wait=20", {"query": 'did "Order" where revenue > 50'})
        c.send(order("rich", 100))
        self.assertTrue(wait_for(lambda: ("left", "Buyers", "w0", "edited") in told()))
        self.assertTrue(wait_for(lambda: ("entered", "Buyers", "rich", "event") in told()))
        self.server.stop()
        with open(self.server.dir + ".ndjson", "w", encoding="utf-8") as events:
            events.write(json.dumps({"type": "track", **order("away", 70), "messageId": "x1",
                                     "timestamp": "2026-01-01T00:00:00Z"}))
        keel("import", "--data", self.server.dir, "--quiet", "--segment", self.server.dir + ".ndjson")
        self.server.start()
        self.assertTrue(wait_for(lambda: ("entered", "Buyers", "away", "missed") in told()), told())
        self.assertEqual(len(told()), len(set(told())))
        stream.stopping = True
        stream.join()

    def test_a_stream_that_is_too_late(self):
        """Who comes back behind what is kept is told how much he missed, and goes on from there."""
        c = Client(self.server)
        c.save("Buyers", 'did "Order"')
        for i in range(6):
            c.send(order(f"u{i}"))
            self.assertTrue(wait_for(lambda n=i: len(c.members("Buyers")) == n + 1))
        desk = sqlite3.connect(self.server.dir + "/desk.db", timeout=20)
        self.assertTrue(wait_for(lambda: desk.execute("SELECT max(last) FROM outbox").fetchone() == (6,)))
        with desk:  # as trimming does
            desk.execute("DELETE FROM outbox WHERE last <= 4")
        first, = desk.execute("SELECT min(first) FROM outbox").fetchone()
        desk.close()
        with self.server.connect() as conn:
            conn.sendall(f"GET /api/v1/segments/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1\r\n"
                         f"Authorization: Bearer {c.token}\r\n\r\n".encode())
            conn.settimeout(30)
            text = ""
            while "id: 6\n" not in text:
                more = conn.recv(65536)
                self.assertTrue(more, text)
                text += more.decode()
        told = [m for m in text.split("\n\n") if "event: " in m]
        self.assertIn(f'event: lost\ndata: {{"after":1,"first":{first}}}', told[0])
        self.assertEqual([m.split("id: ")[1].split("\n")[0] for m in told[1:]],
                         [str(n) for n in range(first, 7)])

    def test_odd_streams(self):
        c = Client(self.server)
        c.save("A", "identified")
        for path, status in ("?segment=B", 404), ("?after=x", 400), ("?after=-1", 400):
            self.assertEqual(c.raw("GET", f"/stream{path}")[0], status, path)
        hooks = f"http://127.0.0.1:{self.server.port}/api/v1/webhooks"
        for body, status in ({"url": "https://example.com", "segments": ["B"]}, 404), \
                ({"url": "https://example.com", "segments": [True]}, 400), \
                ({"url": "https://example.com", "segments": ["A", 1]}, 201), \
                ({"url": "https://example.com", "segments": [], "events": []}, 201):
            request = urllib.request.Request(hooks, json.dumps(body).encode(),
                                             headers={"Authorization": f"Bearer {c.token}"})
            try:
                with urllib.request.urlopen(request) as reply:
                    self.assertEqual(reply.status, status)
            except urllib.error.HTTPError as error:
                self.assertEqual(error.code, status, error.read())


class Commands(unittest.TestCase):
    """keel segment, with a server and without one: the same answers."""
    def segment(self, *args, fails=None):
        done = subprocess.run([KEEL, "segment", *args, "--data", self.server.dir], capture_output=True, text=True,
                              check=False)
        if fails is None:
            self.assertEqual(done.returncode, 0, done.stderr)
        else:
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertIn(fails, done.stderr)
        return done.stdout

    def answers(self):
        listed = [line.split() for line in self.segment("list").splitlines()]
        return {
            "sizes": [(line[0], line[1], line[2]) for line in listed],
            "shown": [line for line in self.segment("show", "Poor").splitlines() if not line.startswith("state")],
            "members": self.segment("members", "Rich", "--limit", "3"),
            "csv": self.segment("export", "Poor", "--format", "csv"),
            "ndjson": self.segment("export", "2"),
            "overlap": self.segment("overlap"), "two": self.segment("overlap", "Rich", "2"),
            "preview": self.segment("preview", 'sum("Order".revenue) > 600', "--against", "Rich"),
            "past": self.segment("preview", "identified", "--at", "2001-01-01"),
        }

    def test_commands(self):
        self.server = Server()
        try:
            self.segment("add", "Rich", 'sum("Order".revenue) > 400', "--purpose", "thank", "--owner-it", "I")
            self.segment("add", "Poor", 'did "Order" and not in segment "Rich"')
            self.segment("add", "Gone", "identified")
            self.server.start()
            c = Client(self.server)
            c.send(*[order(f"u{i}", 100 * i) for i in range(9)])
            self.assertTrue(wait_for(lambda: c.call("GET", "/Poor")["size"] == 5))
            self.segment("edit", "Rich", 'sum("Order".revenue) > 500', "--description", "new")
            self.segment("remove", "Gone")
            self.assertTrue(wait_for(lambda: c.call("GET", "/Poor")["size"] == 6))
            self.assertTrue(wait_for(lambda: len(c.call("GET", "")["segments"]) == 2))
            there = self.answers()
            self.assertEqual(json.loads(self.segment("show", "Rich", "--format", "json"))["version"], 2)
            self.server.stop()
            here = self.answers()
            self.assertEqual(there, here)
            self.assertEqual(here["sizes"], [("1", "Rich", "3"), ("2", "Poor", "6")])
            self.assertEqual(here["members"], "user_id=u6\nuser_id=u7\nuser_id=u8\n")
            self.assertEqual(here["preview"], "2 customers: 0 enter, 1 leave, 2 stay\n")
            self.assertEqual(here["past"], "0 customers\n")
            self.assertEqual(len(here["csv"].splitlines()), 7)
            self.assertIn("removed", self.segment("versions", "3"))
            self.segment("show", "Nobody", fails="no segment")
            self.segment("remove", "Rich", fails='"Poor"')
            self.segment("add", "X", fails="condition")
            self.segment("add", "X", "did", fails="line 1")
            self.segment("dance", fails="unknown word")
            self.segment("show", fails="which one")
            self.segment("preview", "identified", "--at", "soon", fails="no time")
            self.segment("list", "--format", "json", fails="server")
        finally:
            if self.server.process:
                self.server.kill()


if __name__ == "__main__":
    unittest.main()
