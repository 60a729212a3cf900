"""See test_kpis.sh."""
import concurrent.futures
import datetime
import json
import os
import subprocess
import tempfile
import unittest
import urllib.parse

from serve import KEEL, KEY, Server, keel

SOURCE = os.environ["KEEL_SOURCE"]
TODAY = datetime.datetime.now(datetime.timezone.utc).date()
SALES = 'total of sum("Order Completed".revenue)'


def day(back):
    return (TODAY - datetime.timedelta(days=back)).isoformat()


def event(user, name, back, hour, channel, key, **properties):
    return {"type": "track", "event": name, "userId": user, "messageId": key,
            "timestamp": f"{day(back)}T{hour:02}:00:00Z", "properties": properties,
            "context": {"channel": channel}}


def history():
    """Ten days; each day ten people start to pay on the web and three in the kiosk; of these some
    come to an order, two of the web's call instead."""
    for back in range(1, 11):
        for n in range(13):
            who, channel = f"d{back}u{n}", "web" if n < 10 else "kiosk"
            yield event(who, "Checkout Started", back, 9, channel, f"s{back}-{n}")
            if n < 6 or n == 10:
                yield event(who, "Order Completed", back, 9 + (n > 2), channel, f"o{back}-{n}",
                            revenue=10 + back)
            if n in (6, 7):
                yield event(who, "Order Completed", back, 12, "phone", f"o{back}-{n}", revenue=5)


class Kpis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as events:
            for one in history():
                events.write(json.dumps(one) + "\n")
            events.flush()
            keel("import", "--data", cls.server.dir, "--quiet", "--segment", events.name)
        cls.server.start()
        with open(cls.server.dir + "/admin.token", encoding="ascii") as token:
            cls.token = {"Authorization": "Bearer " + token.read().strip()}

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()

    def ask(self, method, path, body=None, status=200):
        got, headers, text = self.server.request(method, path, body, self.token)
        self.assertEqual(got, status, text)
        if status < 400:
            return json.loads(text) if text else None
        self.assertEqual(headers["content-type"], "application/problem+json")
        return json.loads(text)

    def put(self, name, **members):
        return self.ask("PUT", f"/api/v1/kpis/{name}", members)

    def kpi(self, *args, code=0):
        done = subprocess.run([KEEL, "kpi", *args, "--data", self.server.dir], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    # ---- definitions ----

    def test_rights(self):
        for method, path in (("GET", "/api/v1/kpis"), ("POST", "/api/v1/kpis"),
                             ("DELETE", "/api/v1/kpis/x"), ("GET", "/api/v1/kpis/tree"),
                             ("GET", "/api/v1/kpis/x/series"), ("GET", "/api/v1/touchpoints")):
            status, _, _ = self.server.request(method, path)
            self.assertEqual(status, 401, path)

    def test_definitions(self):
        made = self.ask("POST", "/api/v1/kpis?who=Ann", {
            "id": "orders", "name": "Orders <script>alert(1)</script> \u00e9\U0001f6d2",
            "query": 'total of events of "Order Completed"', "owner_marketing": "M",
            "owner_it": "I"}, 201)
        self.assertEqual(made["version"], 1)
        self.assertEqual(made["name"], "Orders <script>alert(1)</script> \u00e9\U0001f6d2")
        self.assertEqual(made["changed_by"], "Ann")
        again = self.ask("POST", "/api/v1/kpis", {"id": "orders", "query": "total of events"}, 409)
        self.assertIn("already", again["detail"])
        changed = self.ask("PUT", "/api/v1/kpis/orders?version=1", {
            "query": 'total of events of "Order Completed"', "direction": "down"})
        self.assertEqual((changed["version"], changed["direction"]), (2, "down"))
        self.assertEqual(changed["query_hash"], made["query_hash"])
        self.assertNotEqual(changed["hash"], made["hash"])
        self.ask("PUT", "/api/v1/kpis/orders?version=1", {"query": "total of events"}, 409)
        self.put("double", sum=["orders"])
        self.ask("DELETE", "/api/v1/kpis/orders", None, 409)
        self.ask("DELETE", "/api/v1/kpis/double", None, 204)
        self.ask("DELETE", "/api/v1/kpis/double", None, 404)
        self.ask("DELETE", "/api/v1/kpis/orders", None, 204)
        self.ask("GET", "/api/v1/kpis/orders", None, 404)
        again = self.put("orders", query="total of events")
        self.assertEqual(again["version"], 4)
        one = self.ask("GET", "/api/v1/kpis/orders")
        self.assertEqual([e["version"] for e in one["edits"]], [4, 3, 2, 1])
        self.assertIsNone(one["edits"][1]["definition"])
        self.ask("DELETE", "/api/v1/kpis/orders", None, 204)

    def test_odd_definitions(self):
        for body in (b"", b"{", b"[]", b"{}", b'{"id":5}', b'{"id":"x"}', b"\xff\xfe", b"\x00",
                     b'{"id":"x","query":"total of events; DROP TABLE kpi_edit"}',
                     b'{"id":"x\' OR 1=1","query":"total of events"}',
                     b'{"id":"../x","query":"total of events"}',
                     b'{"id":"tree","query":"total of events"}',
                     b'{"id":"x","query":"total of events","target":{"value":1e999,"by":"2026-01-01"}}',
                     b'{"id":"x","sum":["x"]}', b'{"id":"x","ratio":["y","z"]}',
                     b'{"id":"x","query":"' + b"(" * 5000 + b'"}',
                     b'{"id":"x","sum":' + b"[" * 200 + b"]" * 200 + b"}"):
            got, _, text = self.server.request("POST", "/api/v1/kpis", body, self.token)
            self.assertIn(got, (400, 413), (body[:60], text))
        got, _, _ = self.server.request("POST", "/api/v1/kpis", b" " * (1 << 20) + b"{}", self.token)
        self.assertEqual(got, 413)
        for path in ("/api/v1/kpis/%00", "/api/v1/kpis/%ff", "/api/v1/kpis/a%2fb",
                     "/api/v1/kpis/" + "x" * 3000, "/api/v1/kpis/x'--"):
            got, _, _ = self.server.request("GET", path, None, self.token)
            self.assertIn(got, (400, 404), path)
        self.assertNotIn("x", [k["id"] for k in self.ask("GET", "/api/v1/kpis")["kpis"]])

    def test_without_personal_data(self):
        """A key that may save and see KPIs, and no personal data: it cannot save what feels its way
        to a person, and few customers are not counted for it."""
        shown = keel("key", "add", "desk", "--scope", "kpi.read", "--scope", "kpi.write", "--data",
                     self.server.dir)
        key = {"Authorization": "Bearer " + next(w for w in shown.split() if len(w) > 30)}
        feel = json.dumps({"query": 'count customers where trait email contains "a"'}).encode()
        status, _, text = self.server.request("PUT", "/api/v1/kpis/feel", feel, key)
        self.assertEqual(status, 403, text)
        status, _, text = self.server.request("PUT", "/api/v1/kpis", b"[kpi.feel]\nquery = '" +
                                              json.loads(feel)["query"].encode() + b"'\n", key)
        self.assertEqual(status, 403, text)
        few = json.dumps({"query": 'total of unique customers of "Order Completed"'}).encode()
        status, _, text = self.server.request("PUT", "/api/v1/kpis/few?who=Somebody", few, key)
        self.assertEqual(status, 200, text)
        self.assertRegex(json.loads(text)["changed_by"], r"^key \d+")
        path = f"/api/v1/kpis/few/series?from={day(5)}&to={day(4)}"
        point = self.ask("GET", path)["points"][0]
        self.assertEqual(point["value"], 9)
        hidden = json.loads(self.server.request("GET", path, None, key)[2])["points"][0]
        self.assertEqual((hidden["value"], hidden["hidden"]), (None, True))
        path = f"/api/v1/kpis/few/series?grain=month&from={day(10)}&to={day(0)}"
        months = json.loads(self.server.request("GET", path, None, key)[2])["points"]
        self.assertGreaterEqual(max(p["value"] or 0 for p in months), 45)  # nine people a day
        self.ask("DELETE", "/api/v1/kpis/few", None, 204)

    def test_segments(self):
        self.ask("POST", "/api/v1/segments", {"name": "Callers", "query":
                 'did any event where context.channel = "phone"'}, 201)
        self.put("callers", query='total of events of "Checkout Started" among customers where in segment "Callers"')
        point = self.ask("GET", f"/api/v1/kpis/callers/series?from={day(5)}&to={day(4)}")["points"][0]
        self.assertEqual(point["value"], 2)
        self.put("lost", query='count customers where in segment "Nobody knows"')
        listed = {k["id"]: k for k in self.ask("GET", "/api/v1/kpis?refresh=true")["kpis"]}
        self.assertIn("Nobody knows", listed["lost"]["problem"])
        self.assertNotIn("problem", listed["callers"])
        for name in ("lost", "callers"):
            self.ask("DELETE", f"/api/v1/kpis/{name}", None, 204)

    # ---- numbers ----

    def series(self, name, more=""):
        return self.ask("GET", f"/api/v1/kpis/{name}/series?from={day(10)}&to={day(-1)}{more}")

    def test_series(self):
        self.put("sales", query=SALES, unit="money", guardrail={"low": 90})
        got = self.series("sales")
        self.assertEqual(got["currency"], "USD")
        self.assertEqual(len(got["points"]), 11)
        for point, back in zip(got["points"], range(10, 0, -1)):
            self.assertEqual(point["period"], day(back))
            self.assertEqual(point["value"], 7 * (10 + back) + 10)
            self.assertTrue(point["complete"])
            self.assertIsNone(point["band"])
            self.assertEqual(point["guardrail"], "inside" if point["value"] >= 90 else "below")
        self.assertIsNone(got["points"][10]["value"])  # today: nothing has come yet
        month = self.ask("GET", "/api/v1/kpis/sales/series?grain=month")["points"]
        self.assertEqual(len(month), 13)
        self.assertEqual(sum(p["value"] or 0 for p in month),
                         sum(7 * (10 + b) + 10 for b in range(1, 11)))
        listed = {k["id"]: k for k in self.ask("GET", "/api/v1/kpis?refresh=true")["kpis"]}
        self.assertEqual(listed["sales"]["latest"]["value"], 87)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:  # readers beside each other
            all_of_them = list(pool.map(lambda _: self.series("sales", "&refresh=true"), range(16)))
        for one in all_of_them:
            self.assertEqual([p["value"] for p in one["points"]],
                             [p["value"] for p in got["points"]])

    def test_odd_ranges(self):
        self.put("plain", query="total of events")
        base = "/api/v1/kpis/plain/series?"
        for odd in ("from=yesterday", "to=2026-13-01", "from=2026-02-30", "grain=year", "grain=%00",
                    "as_of=never", "from=2026-01-02&to=2026-01-01", "from=2026-01-01&to=2026-01-01",
                    "from=0001-01-01&to=9999-01-01", "from=%27%3B%20--", "from=" + "9" * 2000):
            got, _, text = self.server.request("GET", base + odd, None, self.token)
            self.assertIn(got, (400, 413), (odd, text))
        base = "/api/v1/kpis/plain/attribution?"
        whole = f"from={day(3)}&to={day(1)}&against_from={day(6)}&against_to={day(4)}"
        for odd in ("", "from=2026-01-01", whole + "&depth=0", whole + "&depth=x",
                    whole + "&depth=99", whole.replace("to=", "to=x")):
            self.ask("GET", base + odd, None, 400)
        self.assertEqual(self.ask("GET", base + whole)["method"], "none")
        self.ask("GET", "/api/v1/kpis/nobody/series", None, 404)
        self.ask("GET", "/api/v1/touchpoints?from=2026-01-02&to=2026-01-01", None, 400)
        self.ask("GET", "/api/v1/touchpoints?from=x", None, 400)

    def test_as_it_was_known(self):
        self.put("late", query=SALES.replace("Completed", "Late"))
        path = f"/api/v1/kpis/late/series?from={day(2)}&to={day(1)}"
        first = self.ask("GET", path)["points"][0]
        self.assertEqual(first["value"], 0)
        quoted = first["checked_at"]
        body = {"batch": [event("zoe", "Order Late", 2, 8, "web", "late-1", revenue=12.5)]}
        status, _, _ = self.server.request("POST", f"/v1/batch?writeKey={KEY}", body,
                                           {"Content-Type": "application/json"})
        self.assertEqual(status, 200)
        now = self.ask("GET", path + "&refresh=true")["points"][0]
        self.assertEqual(now["value"], 12.5)
        then = self.ask("GET", path + "&as_of=" + urllib.parse.quote(quoted))
        self.assertIn("as_of", then)
        point = then["points"][0]
        self.assertEqual((point["value"], point["now"]["value"]), (0, 12.5))
        self.assertEqual(point["now"]["because"], ["late_events"])
        self.assertEqual((point["now"]["late_events"], point["now"]["from_data"]), (1, 12.5))
        before = self.ask("GET", path + "&as_of=2020-01-01")["points"][0]
        self.assertIsNone(before["value"])
        self.assertNotIn("now", before)

    def test_attribution(self):
        self.put("value", query=SALES, unit="money")
        self.put("count", query='total of events of "Order Completed"')
        self.put("starts", query='total of events of "Checkout Started"')
        self.put("share", ratio=["count", "starts"])
        self.put("each", ratio=["value", "count"], unit="money")
        self.put("made", product=["starts", "share", "each"], unit="money")
        ranges = f"from={day(4)}&to={day(1)}&against_from={day(10)}&against_to={day(5)}"
        got = self.ask("GET", f"/api/v1/kpis/made/attribution?depth=1&{ranges}")
        self.assertEqual(got["method"], "log-share")
        cents = [round(c["contribution"] * 100) for c in got["contributions"]]
        self.assertEqual(sum(cents), round(got["change"] * 100))
        self.assertEqual(got["contributions"][1]["contribution"], 0)  # 9 of 13 on every day
        turned = self.ask("GET", f"/api/v1/kpis/made/attribution?depth=1&from={day(10)}&to={day(5)}"
                          f"&against_from={day(4)}&against_to={day(1)}")
        self.assertEqual([-c for c in cents],
                         [round(c["contribution"] * 100) for c in turned["contributions"]])
        tree = self.ask("GET", "/api/v1/kpis/tree")["roots"]
        made = next(r for r in tree if r["id"] == "made")
        self.assertEqual([p["id"] for p in made["parts"]], ["starts", "share", "each"])
        self.assertEqual([p["id"] for p in made["parts"][2]["parts"]], ["value", "count"])

    def test_touchpoints(self):
        text = ('[touchpoint.pay]\nname = "Pay"\nproperty = "context.channel"\n'
                "start = '\"Checkout Started\"'\nend = '\"Order Completed\"'\nwithin = \"1 day\"\n")
        done = self.ask("PUT", "/api/v1/kpis", text.encode())
        self.assertEqual(done["touchpoints"], 1)
        got = next(t for t in self.ask("GET", "/api/v1/touchpoints")["touchpoints"] if t["id"] == "pay")
        self.assertEqual(got["staff"], ["store", "phone"])
        channels = {c["channel"]: c for c in got["channels"]}
        web, kiosk = channels["web"], channels["kiosk"]
        self.assertEqual((web["started"], web["completed"], web["completion_rate"]), (100, 60, 0.6))
        self.assertEqual((web["fell_back"], web["fallback_rate"]), (20, 0.2))
        self.assertIn(web["median_seconds"], (0, 3600))
        self.assertEqual((kiosk["started"], kiosk["completed"], kiosk["fell_back"]), (30, 10, 0))
        self.assertEqual(kiosk["median_seconds"], 3600)
        table = [line.split() for line in self.kpi("touchpoints").splitlines()]
        self.assertEqual([row[1] for row in table if row[0] == "pay"],
                         [c["channel"] for c in got["channels"]])
        # What is shown of a task is what defines it: it can be sent back.
        members = {name: got[name] for name in ("name", "property", "start", "end", "within", "staff", "fallback_within")}
        self.ask("PUT", "/api/v1/kpis", {"touchpoint": {"pay": {**members, "name": "Checkout"}}})
        names = lambda: [t["name"] for t in self.ask("GET", "/api/v1/touchpoints")["touchpoints"] if t["id"] == "pay"]
        self.assertEqual(names(), ["Checkout"])
        self.ask("DELETE", "/api/v1/touchpoints/pay", None, 204)
        self.assertEqual(names(), [])
        self.ask("DELETE", "/api/v1/touchpoints/pay", None, 404)
        self.ask("PUT", "/api/v1/kpis", {"touchpoint": {"pay": members}})
        self.assertEqual(names(), ["Pay"])

    def fitting(self, question, row, at=None, **more):
        """How many fit the condition that the row of a question's answer stands for."""
        said = self.ask("POST", "/api/v1/query/people", {"query": question, "row": row, **more, **({"at": at} if at else {})})
        asked = {"query": f"count customers where {said['condition']}", **({"at": at} if at else {})}
        return self.ask("POST", "/api/v1/query", asked)["rows"][0][0]

    def test_people_of_touchpoints(self):
        self.ask("PUT", "/api/v1/kpis", {"touchpoint": {"who": {
            "property": "context.channel", "start": '"Checkout Started" where source is missing', "end": '"Order Completed"', "within": "1 day"}}})
        task = next(t for t in self.ask("GET", "/api/v1/touchpoints")["touchpoints"] if t["id"] == "who")
        self.assertEqual([c["channel"] for c in task["channels"]], ["web", "kiosk"])  # where most started first
        for channel in task["channels"]:
            for number, question, step in (("started", "completion", 1), ("completed", "completion", 2), ("fell_back", "fallback", 2)):
                self.assertEqual(self.fitting(channel["questions"][question], [step]), channel[number], (channel, number))
            asked = self.ask("POST", "/api/v1/query", {"query": channel["questions"]["completion"]})["rows"]
            self.assertEqual([row[2] for row in asked], [channel["started"], channel["completed"]])
            self.assertEqual(asked[1][3:], [channel["completion_rate"], channel["median_seconds"]])

    def test_people_of_values(self):
        """Where a value counts customers, they can be counted again by its question."""
        self.put("buyers", query='total of unique customers of "Order Completed"')
        self.put("phoned", query='count customers where did "Order Completed" where context.channel = "phone"')
        self.put("paid", query='funnel "Checkout Started", "Order Completed" within 1 day')
        for one in self.ask("GET", "/api/v1/kpis?refresh=true")["kpis"]:
            latest = one["latest"]
            if one["id"] == "buyers":
                self.assertEqual(latest["question"], 'total of unique customers of "Order Completed" from '
                                 f"{day(1)} to {day(0)}")
                self.assertEqual(self.fitting(latest["question"], []), latest["value"])
            elif one["id"] == "phoned":
                self.assertEqual(self.fitting(latest["question"], [], latest["asked_at"]), latest["value"])
            elif one["id"] == "paid":
                rows = self.ask("POST", "/api/v1/query", {"query": latest["question"]})["rows"]
                self.assertEqual(rows[1][3], latest["value"])
        series = self.ask("GET", f"/api/v1/kpis/buyers/series?from={day(9)}&to={day(4)}&grain=week")
        for point in series["points"]:
            if point["value"]:
                self.assertEqual(self.fitting(series["question"], [point["period"]]), point["value"], point)
        series = self.ask("GET", f"/api/v1/kpis/phoned/series?from={day(9)}&to={day(4)}")
        self.assertEqual([p["value"] for p in series["points"]], [2 * n for n in range(2, 7)])
        for point in series["points"]:
            self.assertEqual(self.fitting(series["question"], [], point["asked_at"]), point["value"])
        self.put("both", sum=["buyers", "phoned"])
        self.assertNotIn("question", self.ask("GET", "/api/v1/kpis/both/series"))
        self.assertIn('question total of unique customers of "Order Completed" from', self.kpi("show", "buyers"))

    # ---- the command ----

    def test_command(self):
        self.assertIn("cli is defined", self.kpi(
            "add", "cli", "--query", SALES, "--unit", "money", "--name", "By hand", "--target", "90",
            "--by", "2030-01-01", "--low", "1", "--high", "1e6", "--owner-it", "I"))
        shown = self.ask("GET", "/api/v1/kpis/cli")
        self.assertEqual((shown["name"], shown["target"], shown["guardrail"], shown["owner_it"]),
                         ("By hand", {"value": 90, "by": "2030-01-01"}, {"low": 1, "high": 1e6}, "I"))
        self.assertIn("already", self.kpi("add", "cli", "--query", SALES, code=73))
        self.kpi("add", "cli", "--query", SALES, "--replace")
        self.assertIn("not a number", self.kpi("add", "c2", "--query", SALES, "--low", "x", code=64))
        self.assertIn("there is no", self.kpi("remove", "c2", code=66))
        self.assertIn("which one?", self.kpi("show", code=64))
        self.assertIn("too much", self.kpi("list", "x", code=64))
        self.assertIn("none of list", self.kpi("liste", code=64))
        self.assertIn("no such file", self.kpi("apply", "/nowhere.toml", code=66).lower())
        one = json.loads(self.kpi("series", "cli", "--from", day(10), "--to", day(5), "--format",
                                  "json"))
        self.assertEqual([p["value"] for p in one["points"]],
                         [7 * (10 + b) + 10 for b in range(10, 5, -1)])
        lines = self.kpi("series", "cli", "--from", day(10), "--to", day(5), "--format",
                         "csv").splitlines()
        self.assertEqual(lines[1].split(",")[:3], [day(10), "150", "true"])
        self.assertIn("version 2:", self.kpi("show", "cli"))
        self.assertIn("cli", self.kpi("tree"))
        self.assertIn("is removed", self.kpi("remove", "cli"))

    def test_same_without_a_server(self):
        with tempfile.TemporaryDirectory() as folder:
            data = folder + "/data"
            keel("init", data)
            keel("kpi", "apply", SOURCE + "/examples/kpis/marketplace.toml", "--data", data)
            listed = json.loads(keel("kpi", "list", "--refresh", "--format", "json", "--data", data))
            self.assertEqual(len(listed["kpis"]), 12)
            for one in listed["kpis"]:  # nothing is known: no zeros
                self.assertIsNone(one["latest"])
                self.assertNotIn("problem", one)
        with open(SOURCE + "/examples/kpis/marketplace.toml", "rb") as example:
            ours = self.ask("PUT", "/api/v1/kpis", example.read())
        self.assertEqual(ours["added"] + ours["changed"] + ours["same"], 12)
        for one in self.ask("GET", "/api/v1/kpis?refresh=true")["kpis"]:
            self.assertNotIn("problem", one)

    def test_described(self):
        status, _, text = self.server.request("GET", "/openapi.json")
        paths = json.loads(text)["paths"]
        self.assertEqual(status, 200)
        for path in ("/api/v1/kpis", "/api/v1/kpis/{id}", "/api/v1/kpis/tree",
                     "/api/v1/kpis/{id}/series", "/api/v1/kpis/{id}/attribution",
                     "/api/v1/touchpoints"):
            self.assertIn(path, paths)


def baskets():
    """30 start on the web and 15 of them pay there; 12 of those who pay had begun in the kiosk, and
    12 others pay in the kiosk; each of 25 other channels has one customer."""
    for n in range(30):
        who = {"email": f"w{n}@mail.test", "contact": f"w{n}@mail.test"}
        if n < 12:
            yield event(f"w{n}", "Basket", 3, 8, "kiosk", f"k-{n}", **who)
        yield event(f"w{n}", "Basket", 3, 9, "web", f"w-{n}", **who)
        if n < 15:
            yield event(f"w{n}", "Paid", 3, 10, "web", f"p-{n}")
    for n in range(12):
        yield event(f"k{n}", "Basket", 3, 8, "kiosk", f"b-{n}")
        yield event(f"k{n}", "Paid", 3, 9, "kiosk", f"q-{n}")
    for n in range(25):
        yield event(f"x{n}", "Basket", 3, 8, f"channel {n:02}", f"x-{n}")


class Channels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as events:
            events.write("".join(json.dumps(one) + "\n" for one in baskets()))
            events.flush()
            keel("import", "--data", cls.server.dir, "--quiet", "--segment", events.name)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as tasks:
            for name, where in (("buy", "context.channel"), ("email", "email"), ("contact", "contact")):
                tasks.write(f"[touchpoint.{name}]\nproperty = '{where}'\nstart = '\"Basket\"'\nend = '\"Paid\"'\nwithin = '1 day'\n")
            tasks.flush()
            keel("kpi", "apply", tasks.name, "--data", cls.server.dir)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()

    def ask(self, method, path, scopes, body=None):
        words = [word for scope in scopes for word in ("--scope", scope)]
        key = {"Authorization": "Bearer " + keel("key", "add", "k", *words, "--data", self.server.dir).strip()}
        status, _, text = self.server.request(method, path, body, key)
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def tasks(self, *scopes):
        return {task["id"]: task for task in self.ask("GET", "/api/v1/touchpoints", scopes)["touchpoints"]}

    def test_who_tries_two_channels(self):
        """The kiosk does not get rid of its failures because the web takes them over."""
        task = self.tasks("kpi.read", "personal.read")["buy"]
        numbers = {c["channel"]: (c["started"], c["completed"]) for c in task["channels"]}
        self.assertEqual((numbers["web"], numbers["kiosk"], numbers["channel 00"]), ((30, 15), (24, 12), (1, 0)))
        self.assertEqual(len(numbers), 20)
        self.assertEqual(task["notes"], ["channels where fewer started are left out"])

    def test_few_are_hidden(self):
        shown = self.tasks("kpi.read")
        channels = {c["channel"]: c for c in shown["buy"]["channels"]}
        self.assertEqual((channels["web"]["started"], channels["web"]["completed"]), (30, 15))
        few = channels["channel 00"]
        self.assertEqual([few[name] for name in ("started", "completed", "completion_rate", "median_seconds", "fell_back")], [None] * 5)
        self.assertTrue(few["hidden"])
        # what a task is by could show single people: not its numbers, and not its channels
        self.assertEqual(shown["email"]["channels"], [])
        self.assertIn("personal.read", shown["email"]["notes"][0])
        self.assertEqual({c["channel"] for c in shown["contact"]["channels"]}, {"‹e-mail›"})
        self.assertNotIn("@mail", json.dumps(shown))
        self.assertEqual(len(self.tasks("kpi.read", "personal.read")["email"]["channels"]), 20)
        # nor who they are: the condition is known, the number is not
        said = self.ask("POST", "/api/v1/query/people", ("query",), {"query": few["questions"]["completion"], "row": [1]})
        counted = self.ask("POST", "/api/v1/query", ("query",), {"query": f"count customers where {said['condition']}"})
        self.assertEqual(counted["rows"], [[None]])


if __name__ == "__main__":
    unittest.main()
