"""See test_collectors.sh. Requests are written as the SDKs send them; what they need back is the
table of replies in docs/collectors.md."""
import base64
import glob
import gzip
import json
import os
import time
import unittest
import zlib

from serve import KEY, Server, keel

BASIC = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


def track(number, **more):
    return {"type": "track", "event": "E", "userId": "u", "messageId": f"m{number}",
            "properties": {"id": number}, **more}


def ids(events):
    return sorted(e["properties"]["id"] for e in events if "id" in e.get("properties", {}))


class Collectors(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.server.start()

    def tearDown(self):
        self.server.__exit__()

    def stored(self):
        self.server.stop()
        return self.server.events()

    def ok(self, reply, body=b'{"success":true}'):
        """What the strictest SDK takes for success: PHP and Python exactly 200, Ruby and Java JSON."""
        status, headers, got = reply
        self.assertEqual(status, 200, got)
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(got, body)

    def fails(self, reply, status, code):
        """Python needs code and message, Ruby error."""
        got, headers, body = reply
        self.assertEqual(got, status, body)
        self.assertEqual(headers["content-type"], "application/json")
        body = json.loads(body)
        self.assertEqual(body["code"], code)
        self.assertIs(body["success"], False)
        self.assertTrue(body["message"] and body["error"])
        return body

    # ---- SDKs ----

    def test_captures(self):
        folder = os.path.join(os.environ.get("KEEL_SHARED", "../shared"), "captures")
        raws = sorted(glob.glob(folder + "/*.raw"))
        if not raws:
            self.skipTest(f"no captures in {folder}")
        keel("source", "add", "jitsu", "--data", self.server.dir, "--key", "key")
        for _ in range(2):  # SDKs send again with the same messageId
            for raw in raws:
                with open(raw, "rb") as f:
                    reply = self.server.send(f.read())
                jitsu = b'{"ok":true,"receivedEvents":1,"okEvents":1}'
                self.ok(reply, *([jitsu] if "jitsu" in raw else []))
        events = self.stored()
        names = sorted(e.get("event", e["type"]) for e in events)
        self.assertEqual(len(events), 22)
        self.assertEqual(names.count("Order Completed"), 4)
        self.assertTrue(all(e.get("userId", "u_1") == "u_1" for e in events))
        products = [e["properties"].get("products") for e in events if e.get("event") == "Order Completed"]
        self.assertIn([{"price": 12.5, "product_id": "p1", "quantity": 1}],
                      [sorted_items(p) for p in products if p])

    def test_languages(self):
        """One request of each SDK, from the contract."""
        def envelope(n, **more):
            return json.dumps({"batch": [track(n)], "sentAt": "2026-11-22T10:00:00.000Z", **more}).encode()

        def chunked(body):
            return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:7], body[7:], b""))

        kotlin = gzip.compress(envelope(6, writeKey=KEY))
        requests = {
            "python": ("/v1/batch", envelope(1, writeKey=KEY), ["Content-Type: application/json",
                       "User-Agent: analytics-python/2.3.2"]),
            "python gzip": ("/v1/batch", gzip.compress(envelope(2, writeKey=KEY)),
                            ["Content-Encoding: gzip", "Content-Type: application/json"]),
            "ruby": ("/v1/import", envelope(3), ["Content-Type: application/json", "Accept: application/json",
                     "User-Agent: analytics-ruby/2.4.0", f"Authorization: {BASIC}"]),
            "java": ("/v1/import/", envelope(4), ["Content-Type: application/json;charset=utf-8",
                     f"Authorization: {BASIC}", "User-Agent: analytics-java/3.5.1"]),
            "go": ("/v1/batch", envelope(5), ["Content-Type: application/json", f"Authorization: {BASIC}",
                   "User-Agent: analytics-go (version: 3.0.0)"]),
            "kotlin": ("/v1/b", None, ["Content-Type: text/plain", "Content-Encoding: gzip",
                       "User-Agent: analytics-kotlin/1.16.3", "Transfer-Encoding: chunked"]),
            "swift": ("/v1/b", envelope(7, writeKey=KEY), ["Content-Type: application/json; charset=utf-8",
                      "User-Agent: analytics-swift/1.6.2"]),
            "php": ("/v1/batch", gzip.compress(envelope(8)), ["Content-Type: application/json",
                    f"Authorization: {BASIC}", "Content-Encoding: gzip", "Accept-Encoding: gzip"]),
            "browser": ("/v1/t", json.dumps({**track(9), "writeKey": KEY, "sentAt":
                        "2026-11-22T10:00:00.000Z"}).encode(), ["Content-Type: text/plain",
                        "Origin: https://shop.example", f"User-Agent: {CHROME}"]),
            "browser 2026": ("/v1/t", json.dumps(track(10)).encode(), ["Content-Type: text/plain",
                             "Origin: https://shop.example", f"Authorization: {BASIC}", "X-Retry-Count: 1"]),
            "rudder": ("/v1/batch", gzip.compress(envelope(11)), ["Content-Encoding: gzip",
                       "Content-Type: application/x-www-form-urlencoded", f"Authorization: {BASIC}"]),
            "rudder beacon": (f"/beacon/v1/batch?writeKey={KEY}", envelope(12), ["Content-Type: text/plain"]),
            "no colon": ("/v1/track", json.dumps(track(13)).encode(),
                         ["Authorization: Basic " + base64.b64encode(KEY.encode()).decode()]),
            "bearer": ("/v1/track", json.dumps(track(14)).encode(), [f"Authorization: Bearer {KEY}"]),
            "oauth": ("/v1/batch", envelope(15, writeKey=KEY), ["Authorization: Bearer eyJhbGciOi.x.y"]),
            "item key": ("/v1/batch", json.dumps({"batch": [{**track(16), "writeKey": KEY}]}).encode(), []),
            "deflate": ("/v1/batch", zlib.compress(envelope(17, writeKey=KEY)), ["Content-Encoding: deflate"]),
        }
        for name, (path, body, headers) in requests.items():
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\n" + "".join(h + "\r\n" for h in headers)
            if body is None:
                raw = head.encode() + b"\r\n" + chunked(kotlin)
            else:
                raw = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            with self.subTest(name):
                self.ok(self.server.send(raw))
        self.assertEqual(ids(self.stored()), list(range(1, 18)))

    def test_types_by_path(self):
        key = {"Authorization": BASIC}
        send = self.server.request
        for path, more in {"track": {"event": "T"}, "identify": {"traits": {"a": 1}}, "page": {"name": "P"},
                           "screen": {"name": "S"}, "group": {"groupId": "g"},
                           "alias": {"previousId": "old"}}.items():
            self.ok(send("POST", f"/v1/{path}", {"userId": "u", **more}, key))
            self.ok(send("POST", f"/v1/{path[0]}/", {"userId": "w", **more}, key))
        self.ok(send("POST", "/v1/m", {"series": []}))
        kinds = sorted(e["type"] for e in self.stored())
        self.assertEqual(kinds, sorted(2 * ["track", "identify", "page", "screen", "group", "alias"]))

    def test_jitsu(self):
        send = self.server.request
        key = {"X-Write-Key": KEY + ":secret"}
        fine = b'{"ok":true,"receivedEvents":1,"okEvents":1}'
        self.ok(send("POST", "/api/s/track", {"event": "A", "userId": "u", "writeKey": KEY + ":***"}, key), fine)
        self.ok(send("POST", "/api/s/s2s/identify", {"userId": "u"}, key), fine)
        self.ok(send("POST", f"/api/s/page?writekey={KEY}", {"userId": "u"}), fine)
        status, _, body = send("POST", "/api/s/track", {"event": "A", "userId": "u"}, {"X-Write-Key": "no:no"})
        self.assertEqual((status, json.loads(body)["ok"]), (401, False))
        self.assertEqual(len(self.stored()), 3)

    def test_pixels(self):
        data = base64.b64encode(json.dumps({"writeKey": KEY, "event": "B>>?", "userId": "u"}).encode()).decode()
        for path in (f"/v1/pixel/track?data={data}",
                     f"/v1/pixel/track?data={data.rstrip('=').replace('+', '-').replace('/', '_')}",
                     '/v1/pixel/page?data=%7B%22writeKey%22:%22' + KEY + '%22,%22userId%22:%22u%22%7D',
                     f"/pixel/v1/track?writeKey={KEY}&userId=u&event=C&properties.price=3&context.page.url=x%20y",
                     f"/api/px/track?writekey={KEY}&data={data}",
                     "/v1/pixel/track?data=nothing", "/v1/pixel/track"):
            status, headers, body = self.server.request("GET", path, headers={"User-Agent": CHROME})
            self.assertEqual((status, headers["content-type"], body[:6]), (200, "image/gif", b"GIF89a"))
        events = self.stored()
        rudder = next(e for e in events if e.get("event") == "C")
        self.assertEqual(rudder["properties"]["price"], "3")
        self.assertEqual(rudder["context"]["page"]["url"], "x y")
        self.assertEqual(rudder["context"]["userAgent"], CHROME)
        self.assertEqual(sorted(e.get("event", e["type"]) for e in events), ["B>>?"] * 3 + ["C", "page"])

    def test_same_content_without_id_or_time(self):
        """Nobody said that they are one event, so none may vanish."""
        event = {"type": "track", "userId": "u", "event": "Again"}
        for _ in range(20):
            self.ok(self.server.request("POST", "/v1/track", {**event, "writeKey": KEY}))
        self.ok(self.server.request("POST", "/v1/batch", {"writeKey": KEY, "batch": [event] * 30}))
        self.assertEqual(len(self.stored()), 50)

    # ---- browsers ----

    def test_preflight(self):
        for path in ("/v1/t", "/v1/b", "/v1/track", "/v1/m", f"/v1/projects/{KEY}/settings", "/api/s/track",
                     "/beacon/v1/batch"):
            status, headers, _ = self.server.request("OPTIONS", path, headers={
                "Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-new"})
            allowed = [h.strip() for h in headers["access-control-allow-headers"].split(",")]
            self.assertEqual(status, 200)
            self.assertEqual(headers["access-control-allow-origin"], "https://shop.example")
            self.assertEqual(headers["access-control-allow-credentials"], "true")
            self.assertGreaterEqual(int(headers["access-control-max-age"]), 600)
            for name in ("authorization", "content-type", "x-retry-count", "x-write-key", "anonymousid", "x-new"):
                self.assertIn(name, allowed)
        for body, status in (({"writeKey": KEY, **track(1)}, 200), ({"writeKey": "no", **track(1)}, 401)):
            got, headers, _ = self.server.request("POST", "/v1/t", body, {"Origin": "https://shop.example"})
            self.assertEqual(got, status)
            self.assertEqual(headers["access-control-allow-origin"], "https://shop.example")

    def test_settings(self):
        status, headers, body = self.server.request("GET", f"/v1/projects/{KEY}/settings",
                                                    headers={"Origin": "https://shop.example"})
        settings = json.loads(body)
        self.assertEqual(status, 200)
        self.assertEqual(headers["access-control-allow-origin"], "https://shop.example")
        self.assertEqual(settings["integrations"]["Segment.io"]["apiKey"], KEY)
        self.assertTrue(settings["plan"]["track"]["__default"]["enabled"])
        self.fails(self.server.request("GET", "/v1/projects/none/settings"), 404, "not_found")

    def test_origins(self):
        keel("source", "add", "shop", "--data", self.server.dir, "--key", "shop", "--origins",
             "https://shop.example https://*.shop.example")
        for origin, status in (("https://shop.example", 200), ("https://a.shop.example", 200),
                               ("https://evil.example", 403), ("https://shop.example.evil", 403), (None, 200)):
            got = self.server.request("POST", "/v1/track", {"writeKey": "shop", **track(1)},
                                      {"Origin": origin} if origin else {})
            self.assertEqual(got[0], status, origin)

    # ---- keys ----

    def test_keys(self):
        send = self.server.request
        self.fails(send("POST", "/v1/track", track(1)), 401, "invalid_write_key")
        self.fails(send("POST", "/v1/track", {"writeKey": "wrong", **track(1)}), 401, "invalid_write_key")
        self.fails(send("POST", "/v1/track", track(1), {"Authorization": "Basic ???"}), 401, "invalid_write_key")
        # made while the server runs, and used at once
        new = keel("source", "add", "app", "--data", self.server.dir).strip()
        self.ok(send("POST", "/v1/track", {"writeKey": new, **track(1)}))
        newer = keel("source", "rotate", "app", "--data", self.server.dir).strip()
        self.ok(send("POST", "/v1/track", {"writeKey": new, **track(2)}))
        self.ok(send("POST", "/v1/track", {"writeKey": newer, **track(3)}))
        newest = keel("source", "rotate", "app", "--data", self.server.dir, "--grace", "0s").strip()
        self.ok(send("POST", "/v1/track", {"writeKey": newest, **track(4)}))
        self.assertEqual(self.until(lambda: send("POST", "/v1/track", {"writeKey": newer, **track(5)})[0], 401), 401)
        keel("source", "disable", "app", "--data", self.server.dir)
        denied = lambda: send("POST", "/v1/track", {"writeKey": newest, **track(6)})
        self.assertEqual(self.until(lambda: denied()[0], 403), 403)
        self.fails(denied(), 403, "source_disabled")
        listed = {s["name"]: s for s in json.loads(keel("source", "list", "--data", self.server.dir, "--format", "json"))}
        self.assertEqual(listed["app"]["write_key"], newest)
        self.assertEqual(listed["app"]["state"], "off")

    def until(self, ask, wanted):
        """A change is seen within a second."""
        end = time.monotonic() + 10
        got = ask()
        while got != wanted and time.monotonic() < end:
            time.sleep(0.05)
            got = ask()
        return got

    # ---- bad input ----

    def test_bad(self):
        send = self.server.request
        key = {"Authorization": BASIC}
        for body in (b"", b"x", b"{", b'{"batch":[}', b'"text"', b"null", b"[1,", b'{"a":"\xff"}', b"userId=u&event=e"):
            self.fails(send("POST", "/v1/batch", body, key), 400, "invalid_json")
        event = b'{"type":"track","event":"E","userId":"u","properties":{"a":%s}}'
        for value, wanted in ((b"[" * 200 + b"]" * 200, "nested deeper than 128, at byte "),
                              (b"NaN", "a number or value is expected, at byte 60"), (b'"\xff"', "invalid UTF-8"),
                              (b'"\n"', "a control character in a string"), (b"1}} x", "behind the JSON value")):
            body = self.fails(send("POST", "/v1/track", event % value, key), 400, "invalid_json")
            self.assertIn(wanted, body["message"])
        self.assertEqual(send("POST", "/v1/batch", b"not gzip", {**key, "Content-Encoding": "gzip"})[0], 400)
        self.fails(send("POST", "/v1/batch", b" " * (5 << 20), key), 413, "too_large")
        self.ok(send("POST", "/v1/batch", {"batch": []}, key))
        self.assertEqual(self.stored(), [])

    def test_one_bad_among_good(self):
        key = {"Authorization": BASIC}
        batch = [track(1), {"type": "none"}, 7, track(2), {"type": "track", "event": "no id"},
                 {**track(3), "properties": {"id": 3, "x": "y" * (1 << 20)}}, track(4)]
        self.ok(self.server.request("POST", "/v1/batch", {"batch": batch}, key))
        self.assertEqual(ids(self.stored()), [1, 2, 4])

    def test_strict(self):
        key = {"Authorization": BASIC, "X-Strict-Mode": "1"}
        bad = {"batch": [track(1), {"type": "none"}, {"type": "track", "event": "no id"}]}
        body = self.fails(self.server.request("POST", "/v1/batch", bad, key), 400, "violations")
        self.assertEqual([v["item"] for v in body["violations"]], [1, 2])
        self.assertIn("type is none of", body["violations"][0]["reason"])
        self.ok(self.server.request("POST", "/v1/batch", {"batch": [track(2)]}, key))
        keel("source", "add", "strict", "--data", self.server.dir, "--key", "strict", "--strict")
        self.fails(self.server.request("POST", "/v1/batch", {**bad, "writeKey": "strict"}), 400, "violations")
        self.assertEqual(ids(self.stored()), [2])

    def test_rate(self):
        keel("source", "add", "slow", "--data", self.server.dir, "--key", "slow", "--rate", "10")
        batch = {"batch": [track(n) for n in range(30)], "writeKey": "slow"}
        self.ok(self.server.request("POST", "/v1/batch", batch))
        status, headers, body = self.server.request("POST", "/v1/track", {"writeKey": "slow", **track(99)})
        self.assertEqual((status, json.loads(body)["code"]), (429, "rate_limited"))
        self.assertIn(int(headers["retry-after"]), (1, 2))
        self.assertEqual(headers["x-ratelimit-reset"], headers["retry-after"])
        again = lambda: self.server.request("POST", "/v1/track", {"writeKey": "slow", **track(99)})[0]
        self.assertEqual(self.until(again, 200), 200)
        self.assertEqual(ids(self.stored()), [*range(30), 99])

    # ---- meaning ----

    def test_meaning(self):
        send = self.server.request
        phone = {"Authorization": BASIC, "User-Agent": CHROME}
        send("POST", "/v1/batch", {"batch": [
            track(1), track(2, context={"ip": "9.9.9.9", "userAgent": "mine"})], "context": {"app": {"name": "a"}}}, phone)
        node = {"Authorization": BASIC, "User-Agent": "analytics-node-next/latest"}
        send("POST", "/v1/batch", {"batch": [track(3), track(4, context={"direct": True}), track(
            5, context={"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"})]}, node)
        for policy in ("truncate", "drop"):
            keel("source", "add", policy, "--data", self.server.dir, "--key", policy, "--ip", policy)
        send("POST", "/v1/track", {"writeKey": "truncate", **track(6, context={"ip": "9.8.7.6"})})
        send("POST", "/v1/track", {"writeKey": "drop", **track(7, context={"ip": "9.8.7.6"})})
        send("POST", "/v1/track", {"writeKey": "truncate", **track(8)}, {"User-Agent": CHROME})
        send("POST", "/v1/track", track(9), {**phone, "X-IP-Policy": "remove"})
        hour = 3600 * 1000
        at = lambda ms: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))
        now = time.time() * 1000
        send("POST", "/v1/track", {**track(10), "originalTimestamp": at(now - 50 * hour),
                                   "sentAt": at(now - 49 * hour)}, node)  # a clock two days behind
        send("POST", "/v1/track", {**track(11), "timestamp": at(now - 50 * hour)}, {**node, "SentAt": at(now - 49 * hour)})
        context = {}
        times = {}
        for e in self.stored():
            context[e["properties"]["id"]] = e.get("context", {})
            times[e["properties"]["id"]] = e["timestamp"]
        self.assertEqual((context[1]["ip"], context[1]["userAgent"]), ("127.0.0.1", CHROME))
        self.assertEqual(context[1]["app"], {"name": "a"})
        self.assertEqual((context[2]["ip"], context[2]["userAgent"]), ("9.9.9.9", "mine"))
        self.assertNotIn("ip", context[3])
        self.assertNotIn("userAgent", context[3])
        self.assertEqual(context[4]["ip"], "127.0.0.1")
        self.assertIs(context[5]["bot"], True)
        self.assertNotIn("bot", context[1])
        self.assertEqual(context[6]["ip"], "9.8.7.0")
        self.assertNotIn("ip", context[7])
        self.assertEqual(context[8]["ip"], "127.0.0.0")
        self.assertNotIn("ip", context[9])
        for n in (10, 11):
            self.assertEqual(times[n][:13], at(now - hour)[:13])

    def test_same_message_again(self):
        for _ in range(3):
            self.ok(self.server.request("POST", "/v1/track", {"writeKey": KEY, **track(1)}))
        self.server.kill()
        self.server.start()
        self.ok(self.server.request("POST", "/v1/track", {"writeKey": KEY, **track(1)}))
        self.assertEqual(ids(self.stored()), [1])

    def test_sources_of_items(self):
        keel("source", "add", "other", "--data", self.server.dir, "--key", "other")
        mixed = {"batch": [{**track(1), "writeKey": KEY}, {**track(2), "writeKey": "other"}, track(3)]}
        self.ok(self.server.request("POST", "/v1/batch", mixed))
        self.assertEqual(ids(self.stored()), [1, 2, 3])


def sorted_items(items):
    return [dict(sorted(i.items())) for i in items]


if __name__ == "__main__":
    unittest.main()
