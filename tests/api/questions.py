"""See test_questions.sh."""
import json
import unittest

from people import Case, run

PATH = "/api/v1/questions"
TREND = 'trend of unique customers of "Order Completed" over 8 weeks by week'


class Questions(Case):
    def ask(self, who, method, path="", body=None, status=200, **headers):
        got, replied, said = self.people[who].ask(method, PATH + path, body, **headers)
        self.assertEqual(got, status, said)
        self.replied = replied
        return json.loads(said) if said else None

    def tearDown(self):
        for one in self.ask("admin", "GET", "?limit=1000")["questions"]:
            self.ask("admin", "DELETE", f"/{one['id']}", status=204)

    def test_life(self):
        made = self.ask("marketing", "POST", body={"name": "Buyers a week", "query": TREND.replace(" by", "   by"), "side": "marketing",
                                                   "owner": "Loyalty", "description": "über"}, status=201)
        self.assertEqual((made["name"], made["query"], made["side"], made["owner"], made["description"], made["version"], made["changed_by"]),
                         ("Buyers a week", TREND, "marketing", "Loyalty", "über", 1, "user marketing"))
        self.assertEqual(self.ask("executive", "GET", "/Buyers%20a%20week"), made)
        self.assertEqual(self.ask("it", "GET")["questions"], [made])
        changed = self.ask("it", "PUT", f"/{made['id']}?version=1", {"name": "Weekly", "side": "it"})
        self.assertEqual((changed["name"], changed["side"], changed["query"], changed["owner"], changed["version"], changed["changed_by"]),
                         ("Weekly", "it", TREND, "Loyalty", 2, "user it"))
        said = self.ask("marketing", "PUT", "/Weekly?version=1", {"query": "count customers"}, status=409)
        self.assertIn("has version 2 by now, not 1", said["detail"])
        self.ask("marketing", "DELETE", "/Weekly", status=204)
        self.ask("marketing", "GET", f"/{made['id']}", status=404)

    def test_odd_input(self):
        self.ask("it", "POST", body={"name": "Buyers", "query": "count customers"}, status=201)
        for body, words in [({"name": "x", "query": "count custmers"}, 'line 1, column 7: expected "customers" or "events"'),
                            ({"name": "x", "query": ""}, "the query is empty"), ({"name": "x"}, "no question to be saved"),
                            ({"query": "count customers"}, "no name"), ({"name": "7", "query": "count customers"}, "cannot be a number"),
                            ({"name": 7, "query": "count customers"}, '"name" is a number'),
                            ({"name": "x", "query": {"form": "count"}}, '"query" is an object'),
                            ({"name": "x", "query": "count customers", "side": "sales"}, "marketing, it or neither"),
                            ({"name": "x", "query": "count customers", "colour": "red"}, '"colour" is none of'),
                            ([], "not an object")]:
            with self.subTest(body=body):
                self.assertIn(words, self.ask("it", "POST", body=body, status=400)["detail"])
        self.ask("it", "POST", body=b"{", status=400)
        self.ask("it", "POST", body={"name": "Buyers", "query": "count customers"}, status=409)
        self.assertIn("did you mean", self.ask("it", "GET", "/Buyer", status=404)["detail"])
        for query in ("limit=0", "limit=1001", "limit=x", "cursor=0", "cursor=x"):
            self.ask("it", "GET", "?" + query, status=400)
        self.ask("it", "PUT", "/Buyers?version=0", {}, status=400)
        self.ask("it", "PUT", "/Buyers", {"query": "count custmers"}, status=400)
        self.assertEqual(self.ask("it", "GET", "/Buyers")["version"], 1)

    def test_pages(self):
        names = [f"q{i}" for i in range(7)]
        for name in names:
            self.ask("it", "POST", body={"name": name, "query": "count customers"}, status=201)
        got, cursor = [], ""
        for _ in range(9):
            page = self.ask("it", "GET", f"?limit=3{cursor}")
            got.append([one["name"] for one in page["questions"]])
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual(got, [names[:3], names[3:6], names[6:]])
        self.assertNotIn("next_cursor", self.ask("it", "GET", "?limit=7"))

    def test_once(self):
        body = {"name": "Once", "query": "count customers"}
        first = self.ask("it", "POST", body=body, status=201, Idempotency_Key="one")
        self.assertEqual(self.ask("it", "POST", body=body, status=201, Idempotency_Key="one"), first)
        self.assertEqual(self.replied["idempotent-replayed"], "true")
        self.assertEqual(len(self.ask("it", "GET")["questions"]), 1)

    def test_rights(self):
        self.ask("partner", "GET", status=403)
        self.ask("partner", "POST", body={"name": "x", "query": "count customers"}, status=403)
        self.ask("executive", "POST", body={"name": "Mine", "query": "count customers"}, status=201)
        key = json.loads(self.people["it"].ask("POST", "/api/v1/keys", {"name": "reads", "scopes": ["query"]})[2])["secret"]
        bearer = {"Authorization": f"Bearer {key}"}
        self.assertEqual(self.server.request("GET", PATH, None, bearer)[0], 200)
        self.assertEqual(self.server.request("POST", PATH, {"name": "y", "query": "count customers"}, bearer)[0], 403)

    def test_what_may_not_be_asked_may_not_be_saved(self):
        feel = {"name": "feel", "query": 'count customers where trait email contains "a"'}
        self.assertIn("email", self.ask("marketing", "POST", body=feel, status=403)["detail"])
        self.ask("privacy_officer", "POST", body=feel, status=201)
        self.ask("marketing", "PUT", "/feel", {"name": "other"})  # the question is not his
        self.ask("marketing", "PUT", "/other", {"query": feel["query"]}, status=403)

    def test_audit(self):
        before = len(self.records())
        made = self.ask("it", "POST", body={"name": "Private matter", "query": "count customers"}, status=201)
        self.ask("it", "GET", "/Private%20matter")
        self.ask("it", "DELETE", "/Private%20matter", status=204)
        noted = [(r["who"], r["act"], r["object"], r["outcome"]) for r in self.records()[before:]]
        number = f"question {made['id']}"
        self.assertEqual(noted, [("user it", "POST /api/v1/questions", number, 201), ("user it", "DELETE /api/v1/questions/{id}", number, 204)])

    def test_the_command_beside_it(self):
        command = lambda *args: run("question", *args, "--data", self.server.dir)
        self.assertEqual(command("save", "By hand", TREND, "--side", "marketing").returncode, 0)
        self.assertEqual(self.ask("it", "GET", "/By%20hand")["query"], TREND)
        self.assertEqual(command("show", "By hand", "--format", "query").stdout, TREND + "\n")
        self.assertIn("already", command("save", "By hand", "count customers").stderr)
        self.assertEqual(command("save", "By hand", "--replace", "--name", "Renamed").returncode, 0)
        shown = json.loads(command("list", "--format", "json").stdout)
        self.assertEqual(shown, self.ask("it", "GET")["questions"])
        self.assertIn("custmers\n      ^^^^^^^^", command("save", "x", "count custmers").stderr)
        self.assertEqual(command("delete", "Renamed").returncode, 0)
        self.assertEqual(self.ask("it", "GET")["questions"], [])
        self.assertEqual([(r["act"], r["object"]) for r in self.records()][-1], ("keel question delete", "Renamed"))


if __name__ == "__main__":
    unittest.main()
