"""See test_shielded.sh."""
import csv
import io
import json
import re
import tempfile
import unittest
import urllib.parse
import urllib.request

from people import QUERY
from serve import Server, keel


class Shielded(unittest.TestCase):
    """What a key without personal.read learns of 200 customers: traits n (0 to 199), email, country."""
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        lines = []
        for n in range(200):
            traits = {"n": n, "email": f"p{n}@mail.test", "country": "AT" if n < 100 else "BE" if n < 185 else
                      "CH" if n < 197 else "DE", "note": f"call +43 1 5000{n:03}" if n == 0 else "-"}
            lines.append({"type": "identify", "userId": f"u{n}", "messageId": f"i{n}", "traits": traits,
                          "timestamp": "2024-01-01T10:00:00Z"})
            for k in range(1 + (n < 150) + (n < 8)):
                lines.append({"type": "track", "event": "Bought", "userId": f"u{n}", "messageId": f"b{n}-{k}",
                              "properties": {"sku": "rare" if n < 5 else "common", "amount": 10, "contact": traits["email"]},
                              "timestamp": f"2024-01-0{2 + k}T10:00:00Z"})
        lines.append({"type": "track", "event": "Befriended", "userId": "u1", "messageId": "f1", "timestamp": "2024-01-05T10:00:00Z",
                      "properties": {"friends": {"w@mail.test": True, "v@mail.test": False}}})
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as events:
            events.write("".join(json.dumps(line) + "\n" for line in lines))
            events.flush()
            keel("import", "--data", cls.server.dir, "--quiet", "--segment", events.name)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()

    def key(self, *scopes):
        words = [word for scope in scopes for word in ("--scope", scope)]
        return {"Authorization": "Bearer " + keel("key", "add", "k", *words, "--data", self.server.dir).strip()}

    def ask(self, key, question, status=200):
        got, _, body = self.server.request("POST", QUERY, question.encode(), key)
        self.assertEqual(got, status, (question, body))
        return json.loads(body)

    def rows(self, question, key=None):
        return self.ask(key or self.key("query"), question)["rows"]

    def test_small_numbers(self):
        self.assertEqual(self.rows("count customers"), [[200]])
        self.assertEqual(self.rows("count customers where trait n < 10"), [[10]])
        self.assertEqual(self.rows("count customers where trait n < 9"), [[None]])
        self.assertEqual(self.rows("count customers where trait n < 0"), [[None]])
        answer = self.ask(self.key("query"), "count customers where trait n < 9")
        self.assertIn("fewer than 10 customers", answer["notes"][0])
        full = self.ask(self.key("query", "personal.read"), "count customers where trait n < 9")
        self.assertEqual(full["rows"], [[9]])

    def test_a_hidden_row_does_not_follow_from_the_total(self):
        # DE has 3: with the total of 200 it would follow, so the smallest that is shown goes, too
        self.assertEqual(self.rows("count customers by trait country"), [["AT", 100], ["BE", 85], ["CH", None], ["DE", None]])

    def test_numbers_of_events_stand_for_customers(self):
        rows = self.rows('total of sum("Bought".amount), events of "Bought" split by properties.sku')
        self.assertEqual(rows, [["common", 3430, 343], ["rare", None, None]])
        self.assertEqual(self.rows('top 5 "Bought".sku'), [["common", 343], ["rare", None]])
        self.assertEqual([r[1] for r in self.rows('trend of events of "Bought" by day')], [200, 150, None])

    def test_who_is_left_behind(self):
        question = 'funnel "Bought", "Bought", "Bought" among customers where trait n < %d'
        self.assertEqual([r[2] for r in self.rows(question % 155)], [155, None, None])  # 5 dropped out
        self.assertEqual([r[2] for r in self.rows(question % 190)], [190, 150, None])
        rows = self.rows('retention from first "Bought" to "Bought" by day among customers where trait n < 155')
        self.assertEqual([r[:4] for r in rows[:2]], [["2024-01-02", 0, 155, 155], ["2024-01-02", 1, 155, None]])

    def test_lifecycle(self):
        question = 'lifecycle of "Bought" by day from 2024-01-02 to 2024-01-06'
        self.assertEqual(self.rows(question), [
            ["2024-01-02", 200, 200, None, None, None, None], ["2024-01-03", 150, None, 150, None, 50, None],
            ["2024-01-04", None, None, None, None, None, None],   # 8 of them: neither they, nor who lapsed
            ["2024-01-05", None, None, None, None, None, None]])
        full = self.rows(question, self.key("query", "personal.read"))
        self.assertEqual(full[2], ["2024-01-04", 8, 0, 8, 0, 142, 50])

    def test_compare(self):
        question = "compare customers where trait n < %d with others with at least 1 customers"
        answer = self.rows(question % 100)
        facts = {(kind, name, value): rest for kind, name, value, *rest in answer}
        self.assertEqual(facts["trait", "country", "AT"][:4], [100, None, 100, 100])
        self.assertNotIn(("trait", "country", "DE"), facts)   # 3, and with the total of the others:
        self.assertNotIn(("trait", "country", "CH"), facts)
        self.assertEqual(facts["trait", "country", "BE"][:2], [None, 85])
        self.assertEqual(facts["has trait", "email", None][:2], [100, 100])
        self.assertFalse([f for f in facts if f[:2] == ("trait", "email")])
        full = self.rows(question % 100, self.key("query", "personal.read"))
        self.assertEqual(len([row for row in full if row[:2] == ["trait", "email"]]), 200)
        key = self.key("query")
        self.ask(key, question % 100)
        self.ask(key, question % 95, 403)
        self.ask(key, "count customers where trait n >= 103", 403)   # 3 fewer than the others
        self.ask(key, "compare customers where trait email < \"q\" with others", 403)

    def test_a_segment_as_a_split(self):
        status, _, got = self.server.request("POST", "/api/v1/segments", json.dumps(
            {"name": "most", "query": "trait n < 105"}).encode(), self.key("query", "segment.write"))
        self.assertEqual(status, 201, got)
        key = self.key("query")
        self.assertEqual(self.rows('count customers by segment "most"', key), [[False, 95], [True, 105]])
        self.ask(key, "count customers where trait n < 100", 403)
        key = self.key("query")
        self.ask(key, "count customers where trait n < 100")
        self.ask(key, 'trend of unique customers by day split by segment "most"', 403)

    def test_what_may_not_be_asked(self):
        key = self.key("query", "profile.read")
        for question in ["list customers", "count customers by trait email", 'top 5 "Bought".traits.email',
                         'count customers where trait email contains "p1"', 'count customers where trait email < "q"',
                         'count customers where not trait email matches "^p1"',
                         'total of min("Bought".context.traits.phone)', 'total of events of identify split by trait email',
                         'count customers where did identify where email starts with "p1"',
                         'count customers where max(identify.phone) > 5', 'count customers by last(identify.email)']:
            with self.subTest(question=question):
                self.assertEqual(self.ask(key, question, 403)["code"], "forbidden")
        self.assertEqual(self.rows('count customers where trait email = "p1@mail.test"', key), [[None]])
        self.assertEqual(self.rows('count customers where trait email exists', key), [[200]])

    def test_texts_that_look_personal(self):
        rows = self.rows('top 1000 "Bought".contact by customers')
        self.assertEqual(len(rows), 200)
        self.assertEqual({tuple(r) for r in rows}, {("‹e-mail›", None)})

    def test_differences(self):
        question = "count customers where trait n < {}"
        for by in (1, 2, 5, 9, 10, 11, 40):
            key = self.key("query")
            self.ask(key, question.format(100))
            with self.subTest(by=by):
                self.ask(key, question.format(100 + by), 403 if by < 10 else 200)
                self.ask(key, question.format(100 - by), 403 if by < 10 else 200)
                self.ask(key, question.format(100))  # the same again is no difference
        key = self.key("query")
        self.ask(key, "count customers where trait n < 199", 403)  # all but one
        self.ask(key, "count customers where trait n < 150")
        self.ask(key, "count customers where trait n < 150 and not trait n = 7", 403)
        self.ask(key, 'total of unique customers among customers where trait n < 150 and trait n != 7', 403)
        self.ask(key, "count customers where trait n >= 0 and trait n < 150")  # the same ones, said otherwise
        self.ask(self.key("query"), "count customers where trait n < 150 and not trait n = 7")  # somebody else
        full = self.key("query", "personal.read")
        self.ask(full, question.format(100))
        self.ask(full, question.format(101))

    def streamed(self, who, path):
        with urllib.request.urlopen(urllib.request.Request(
                f"http://127.0.0.1:{self.server.port}/api/v1{path}", headers=who), timeout=60) as reply:
            return reply.read().decode()

    def test_exports_are_masked(self):
        """As CSV and as NDJSON the same values, personal ones as signs; the owner of the right sees all."""
        key, full = self.key("query", "export"), self.key("query", "export", "personal.read")
        def rows(who, path):
            text = self.streamed(who, path)
            return list(csv.DictReader(io.StringIO(text))), text
        for event in ("$identify", "Bought"):
            path = "/export?format=csv&event=" + urllib.parse.quote(event)
            plain, masked = rows(full, path), rows(key, path)
            self.assertTrue("@mail.test" in plain[1] and "@mail" not in masked[1], masked[1][:1000])
            self.assertEqual(len(plain[0]), len(masked[0]))
            lines = [json.loads(line) for line in self.streamed(key, path.replace("csv", "ndjson")).splitlines()]
            for whole, row, line in zip(plain[0], masked[0], lines):
                self.assertEqual(row.keys(), whole.keys())
                inner = line.get("traits") or line.get("properties")
                for name, value in row.items():
                    if value != whole[name]:
                        self.assertRegex(value, "^‹[a-z-]+›$", name)
                    if name.startswith("properties.") and value:
                        self.assertEqual(value, str(inner[name[11:]]), name)
            self.assertEqual(masked[0][0]["properties.email" if event == "$identify" else "properties.contact"], "‹e-mail›")
        self.assertEqual({r["properties.country"] for r in rows(key, "/export?format=csv&event=$identify")[0]},
                         {"AT", "BE", "CH", "DE"})
        status, _, body = self.server.request("PUT", "/api/v1/plan", b"[event.Bought.property.sku]\ntype = 'string'\n"
            b"class = 'sensitive'\n",
            self.key("plan.write"))
        self.assertEqual(status, 200, body)
        self.assertEqual({r["properties.sku"] for r in rows(key, "/export?format=csv&event=Bought")[0]}, {"‹sensitive›"})
        self.assertEqual({r["properties.sku"] for r in rows(full, "/export?format=csv&event=Bought")[0]}, {"rare", "common"})
        self.server.request("PUT", "/api/v1/plan", b"unplanned_events = 'allow'\n", self.key("plan.write"))

    def test_traits_of_a_segment(self):
        key, full = self.key("query", "export"), self.key("query", "export", "segment.write", "personal.read")
        status, _, body = self.server.request("POST", "/api/v1/segments?wait=20",
                                              {"name": "Ch,\"arts", "query": "trait n < 50"}, full)
        self.assertEqual(status, 201, body)
        path = f"/segments/{json.loads(body)['id']}/export?format=%s&traits=email,%%20country,n"
        def table(who):
            return list(csv.DictReader(io.StringIO(self.streamed(who, path % "csv"))))
        for who, mail in ((full, "p7@mail.test"), (key, "‹e-mail›")):
            rows = table(who)
            self.assertEqual(list(rows[0]), ["customer", "user_id", "anonymous_id", "email", "country", "n"])
            self.assertEqual([r["user_id"] for r in rows], [f"u{n}" for n in range(50)])
            self.assertEqual((rows[7]["email"], rows[7]["country"], rows[7]["n"]), (mail, "AT", "7"))
            lines = [json.loads(line) for line in self.streamed(who, path % "ndjson").splitlines()]
            self.assertEqual([line["traits"] for line in lines][7], {"email": mail, "country": "AT", "n": 7})
            self.assertEqual([str(line["customer"]) for line in lines], [r["customer"] for r in rows])
        here = keel("segment", "export", "Ch,\"arts", "--data", self.server.dir, "--format", "csv", "--traits", "email,country,n")
        self.assertEqual(here, self.streamed(full, path % "csv"))
        few = json.loads(self.server.request("POST", "/api/v1/segments?wait=20", {"name": "Few", "query": "trait n < 5"}, full)[2])
        for where, status in ((f"{few['id']}/export?traits=country", 403), ("99/export?traits=country", 404),
                              ("Few/export?traits=", 400), ("Few/export?traits=a,,b", 400),
                              ("Few/export?traits=nobody-has-this", 404),
                              ("Few/export?traits=" + ",".join("n" for _ in range(17)), 413)):
            who = key if status == 403 else full
            got, _, said = self.server.request("GET", "/api/v1/segments/" + where, None, who)
            self.assertEqual(got, status, (where, said))
        for name in ("Few", "Ch,\"arts"):
            keel("segment", "remove", name, "--data", self.server.dir)

    def test_segments_on_metrics(self):
        self.server.request("POST", "/api/v1/segments?wait=20", {"name": "Seen", "query": "trait n < 50"},
                            self.key("query", "segment.write", "personal.read"))
        text = self.server.request("GET", "/metrics", None, self.key("metrics"))[2].decode()
        value = lambda name: float(re.search(f"^{name} (\\S+)$", text, re.M)[1])
        self.assertGreaterEqual(value("keel_segments"), 1)
        self.assertEqual(value("keel_segments_failed"), 0)
        self.assertGreaterEqual(value("keel_segments_leaves"), 1)
        self.assertGreater(value("keel_segments_bytes"), 0)
        self.assertTrue(0 <= value("keel_segments_behind_seconds") < 60)
        keel("segment", "remove", "Seen", "--data", self.server.dir)

    def test_keys(self):
        """An address that somebody sent as the name of a property is no name to be told."""
        full, few = self.key("query", "export", "profile.read", "personal.read"), self.key("query", "export", "profile.read")
        schema = lambda key: self.server.request("GET", "/api/v1/schema", None, key)[2]
        self.assertTrue(b"friends.w@mail.test" in schema(full) and b"@" not in schema(few))
        for form in ("csv", "ndjson"):
            path = f"/export?format={form}&event=Befriended"
            self.assertIn("w@mail", self.streamed(full, path))
            self.assertNotIn("@", self.streamed(few, path))
        got, _, body = self.server.request("GET", "/api/v1/profiles/user_id=u1", None, few)
        self.assertEqual(got, 200)
        self.assertNotIn(b"@", body)
        self.assertIn("‹e-mail›".encode(), body)

    def test_segments(self):
        key, full = self.key("query", "segment.write", "export"), self.key("query", "segment.write", "export", "personal.read")
        def save(who, name, query, status):
            got, _, body = self.server.request("POST", "/api/v1/segments?wait=20", {"name": name, "query": query}, who)
            self.assertEqual(got, status, body)
            return json.loads(body)
        self.assertEqual(save(key, "hundred", "trait n < 100", 201)["size"], 100)
        save(key, "felt", 'trait email starts with "p1"', 403)
        save(key, "one more", "trait n < 101", 403)
        self.assertIsNone(save(key, "few", "trait n < 5", 201)["size"])
        self.assertEqual(save(full, "near", "trait n < 104", 201)["size"], 104)
        def get(who, path):
            status, _, body = self.server.request("GET", "/api/v1/segments" + path, None, who)
            return status, json.loads(body) if body.startswith(b"{") and status == 200 else body
        sizes = {s["name"]: s["size"] for s in get(key, "")[1]["segments"]}
        self.assertEqual((sizes["hundred"], sizes["few"]), (100, None))
        overlap = get(key, "/overlap")[1]
        at = [s["name"] for s in overlap["segments"]]
        cell = lambda a, b: overlap["overlap"][at.index(a)][at.index(b)]
        self.assertEqual((cell("hundred", "hundred"), cell("hundred", "few"), cell("hundred", "near")), (100, None, None))
        self.assertEqual(get(key, "/hundred/members")[0], 403)
        self.assertEqual(get(full, "/hundred/members")[0], 200)
        self.assertEqual(get(key, "/few/export")[0], 403)
        self.assertEqual(get(key, "/hundred/export")[0], 200)
        status, _, body = self.server.request("POST", "/api/v1/segments/preview", {"query": "trait n < 60"}, key)
        self.assertEqual((status, json.loads(body)["size"], json.loads(body)["sample"]), (200, 60, []))


if __name__ == "__main__":
    unittest.main()
