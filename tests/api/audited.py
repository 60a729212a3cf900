"""See test_audited.sh."""
import json
import os
import re
import subprocess
import tempfile
import unittest

from people import OS_USER, PASSWORD, QUERY, Case, run
from serve import KEEL, KEY, Server, keel

SOURCE = os.environ["KEEL_SOURCE"]


class Noted(Case):
    def test_acts(self):
        before = len(self.records())
        self.root.ask("POST", "/api/v1/users", {"login": "seen", "role": "partner", "password": PASSWORD})
        self.root.ask("GET", "/api/v1/users")
        self.server.request("POST", "/api/v1/session", {"login": "seen", "password": "not this one"})
        self.server.request("POST", "/api/v1/session", {"login": PASSWORD, "password": "x"})
        keel("user", "disable", "seen", "--data", self.server.dir)
        run("user", "disable", "nobody", "--data", self.server.dir)
        new = [(r["who"], r["act"], r["object"], r["outcome"]) for r in self.records()[before:]]
        self.assertEqual(new, [
            ("user root", "POST /api/v1/users", "seen", 201),
            ("nobody", "POST /api/v1/session", "seen", 401),
            ("nobody", "POST /api/v1/session", "unknown login", 401),
            (OS_USER, "keel user disable", "seen", 0),
            (OS_USER, "keel user disable", "nobody", -4),
        ])

    def test_personal_data(self):
        event = {"type": "identify", "userId": "kim@mail.test", "messageId": "p1",
                 "traits": {"email": "kim@mail.test", "phone": "+44 20 7946 0000", "country": "NL"}}
        status, _, body = self.server.request("POST", "/v1/identify", event, {"X-Write-Key": KEY})
        self.assertEqual(status, 200, body)
        path = "/api/v1/profiles/kim%40mail.test"
        before = len(self.records())
        _, _, masked = self.people["marketing"].ask("GET", path)
        self.assertNotIn(b"kim@", masked)
        self.assertNotIn(b"7946", masked)
        self.assertIn(b'"country":"NL"', masked)
        self.assertEqual(self.people["marketing"].ask("GET", path + "?format=text")[0], 403)
        _, _, exported = self.people["marketing"].ask("GET", "/api/v1/export")
        self.assertNotIn(b"kim@", exported)
        self.assertEqual(len(self.records()), before)
        _, _, shown = self.people["privacy_officer"].ask("GET", path)
        self.assertIn(b"kim@mail.test", shown)
        self.assertEqual(self.people["privacy_officer"].ask("POST", QUERY, b"list customers with trait email")[0], 200)
        self.assertEqual(self.people["privacy_officer"].ask("POST", QUERY, b"count customers")[0], 200)
        new = self.records()[before:]
        self.assertEqual([r["act"] for r in new], ["GET /api/v1/profiles/{id}", "POST /api/v1/query"])
        with open(self.server.dir + "/audit.log", encoding="utf-8") as log:
            self.assertNotIn("kim@", log.read())
        found = keel("audit", "list", "--customer", "kim@mail.test", "--data", self.server.dir)
        self.assertEqual([json.loads(line)["n"] for line in found.splitlines()], [new[0]["n"]])
        answer = json.loads(self.people["privacy_officer"].ask("GET", "/api/v1/audit?limit=1")[2])
        self.assertEqual(answer["records"][0]["n"], self.records()[-1]["n"])

    def test_a_damaged_log_stops_what_would_be_noted(self):
        with Server() as server:
            with open(server.dir + "/admin.token", encoding="ascii") as token:
                bearer = {"Authorization": f"Bearer {token.read().strip()}"}
            make = ("POST", "/api/v1/sources", {"name": "a"}, bearer)
            self.assertEqual(server.request(*make)[0], 201)
            with open(server.dir + "/audit.log", "r+b") as log:
                log.truncate(10)
            self.assertEqual(server.request("POST", "/api/v1/sources", {"name": "b"}, bearer)[0], 500)
            self.assertEqual(server.request("POST", QUERY, b"count customers", bearer)[0], 200)
            done = run("audit", "verify", "--data", server.dir)
            self.assertEqual(done.returncode, 65)
            self.assertIn("record 1, at byte 0", done.stderr)

    def test_verify(self):
        done = run("audit", "verify", "--data", self.server.dir)
        self.assertRegex(done.stdout, r"^OK, \d+ records, head [0-9a-f]{64}\n$")
        head = done.stdout.split()[-1]
        self.root.ask("POST", "/api/v1/users", {"login": "later", "role": "partner"})
        self.assertEqual(run("audit", "verify", "--head", head, "--data", self.server.dir).returncode, 0)
        self.assertEqual(run("audit", "verify", "--head", "0" * 64, "--data", self.server.dir).returncode, 65)


class Commands(unittest.TestCase):
    """What commands change is noted, with and without a server."""
    def setUp(self):
        self.server = Server()
        self.files = tempfile.TemporaryDirectory()
        self.plan = self.files.name + "/plan.json"
        with open(self.plan, "w", encoding="ascii") as plan:
            plan.write('{"unplanned_events": "quarantine"}')

    def tearDown(self):
        self.server.__exit__()
        self.files.cleanup()

    def records(self):
        try:
            with open(self.server.dir + "/audit.log", encoding="utf-8") as log:
                return [json.loads(line) for line in log]
        except FileNotFoundError:
            return []

    def keel(self, *words, status=0, typed="", **env):
        environment = {k: v for k, v in os.environ.items() if k != "USER"}
        done = run(*words, "--data", self.server.dir, env={**environment, **env}, input=typed)
        self.assertEqual(done.returncode, status, (words, done.stderr))
        return done.stdout

    def changes(self):
        return [
            (("source", "add", "shop"), "shop"), (("source", "rotate", "shop"), "shop"),
            (("source", "disable", "shop"), "shop"), (("source", "enable", "shop"), "shop"),
            (("webhook", "add", "https://crm.test/in?token=hush"), "crm.test"),
            (("webhook", "disable", "1"), "1"), (("webhook", "enable", "1"), "1"), (("webhook", "replay", "1"), "1"),
            (("webhook", "remove", "1"), "1"), (("plan", "import", self.plan), self.plan),
            (("kpi", "apply", SOURCE + "/examples/kpis/marketplace.toml"), SOURCE + "/examples/kpis/marketplace.toml"),
            (("kpi", "add", "mine", "--query", "count customers"), "mine"), (("kpi", "remove", "mine"), "mine"),
            (("segment", "add", "All", "trait n exists"), "All"), (("segment", "edit", "All", "--purpose", "x"), "All"),
            (("segment", "remove", "All"), "All"), (("key", "add", "k", "--scope", "query"), "k"),
            (("key", "revoke", "1"), "1"), (("user", "add", "ann", "--role", "it", "--no-password"), "ann"),
            (("user", "role", "ann", "--role", "partner"), "ann"), (("quarantine", "discard", "--all"), "all"),
            (("quarantine", "discard", "--event", "Odd", "--source", "web"), "source=web event=Odd"),
            (("user", "password", "ann"), "ann"), (("user", "disable", "ann"), "ann"), (("user", "enable", "ann"), "ann"),
            (("user", "login-link", "ann"), "ann"), (("question", "save", "Sizes", "count customers"), "Sizes"),
            (("question", "delete", "Sizes"), "Sizes"),
        ]

    def test_the_table_of_commands(self):
        """Whatever the table says that it changes is tried here, or in another test of this class; the rest only looks."""
        said = run("help", "changes").stdout
        marked = set(re.findall(r"^  keel (.+)$", said, re.M))
        tried = {" ".join(words[:2]) for words, _ in self.changes()}
        tried |= {"init", "import", "compact", "backup", "replay", "restore", "serve"}
        tried |= {"quarantine replay", "webhook test"}
        self.assertEqual(marked, tried)
        looking = re.search(r"nothing: (.*)", said)[1].split()
        commands = set(re.findall(r"^  (\w+) {2,}", run("help").stdout, re.M))
        self.assertEqual({m.split()[0] for m in marked} | set(looking), commands)
        self.assertFalse({m.split()[0] for m in marked} & set(looking))

    def test_whole_commands(self):
        """Commands without a word, on a directory that no server has open."""
        def noted():
            return [(r["who"], r["from"], r["act"], r["object"], r["outcome"]) for r in self.records()]
        events, folder = self.files.name + "/e.ndjson", self.files.name + "/backups"
        with open(events, "w", encoding="ascii") as out:
            out.write('{"type":"track","event":"E","userId":"u","messageId":"m","timestamp":"2026-01-01T00:00:00Z"}\n')
        self.assertEqual(noted()[0], (OS_USER, "command line", "keel init", "source default", 0))
        start = len(noted())
        self.keel("import", "--segment", "--quiet", events)
        self.keel("import", "--segment", "--quiet", events, events)
        self.keel("compact")
        self.keel("backup", "--to", folder, "--quiet")
        os.mkdir(self.server.dir + "/archive")
        self.keel("replay", "--quiet")
        self.assertEqual(noted()[start:], [(OS_USER, "command line", act, what, 0) for act, what in [
            ("keel import", "e.ndjson: 1 new events"), ("keel import", "e.ndjson and 1 more: 0 new events"),
            ("keel compact", "0 months rewritten"), ("keel backup", "generation 1 into " + folder),
            ("keel replay", "0 requests: 0 new events")]])
        before = noted()
        for words in (("query", "count customers"), ("export", "--quiet"), ("profile", "user_id=u"), ("plan", "infer"),
                      ("plan", "versions"), ("segment", "preview", "identified"), ("kpi", "tree"), ("question", "list"),
                      ("webhook", "dead", "1"), ("source", "stats")):
            self.keel(*words)
        self.assertEqual(run("doctor", self.server.dir).returncode, 0)
        self.assertEqual(run("backup", "verify", "--from", folder).returncode, 0)
        self.assertEqual(noted(), before, "looking is no change")
        # what fails half-way is noted, what does not begin is not
        self.assertEqual(run("import", "--segment", "--quiet", "nothing.ndjson", "--data", self.server.dir).returncode, 66)
        self.assertEqual(noted(), before)
        os.chmod(self.server.dir + "/parts", 0o700)
        with open(self.server.dir + "/audit.log", "r+b") as log:
            log.truncate(10)
        rows = self.keel("query", "--format", "csv", "count events")
        done = run("import", "--segment", "--quiet", events, "--data", self.server.dir)
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("audit", done.stderr)
        self.assertEqual(self.keel("query", "--format", "csv", "count events"), rows)

    def check(self, served):
        for words, what in self.changes():
            with self.subTest(words=words):
                before = len(self.records())
                self.keel(*words, USER="somebody-else", typed="a long enough one\n")
                new = [(r["who"], r["from"], r["act"], r["object"], r["outcome"]) for r in self.records()[before:]]
                self.assertEqual(new, [(OS_USER, "command line", "keel " + " ".join(words[:2]), what, 0)])
        before = len(self.records())
        self.keel("quarantine", "replay")
        new = [(r["who"], r["from"], r["act"]) for r in self.records()[before:]]
        self.assertEqual(new, [(OS_USER, "keel.sock", "POST /api/v1/quarantine/replay") if served else
                               (OS_USER, "command line", "keel quarantine replay")])
        before = len(self.records())
        self.keel("source", "rotate", "nobody", status=66)
        self.assertEqual([(r["act"], r["object"], r["outcome"] < 0) for r in self.records()[before:]],
                         [("keel source rotate", "nobody", True)])
        before = len(self.records())
        for words in (("source", "list"), ("webhook", "list"), ("plan", "show"), ("kpi", "list"), ("segment", "list"),
                      ("key", "list"), ("user", "list"), ("quarantine", "list"), ("audit", "list")):
            self.keel(*words)
        self.assertEqual(len(self.records()), before, "looking is no change")
        with open(self.server.dir + "/audit.log", encoding="utf-8") as log:
            self.assertNotIn("hush", log.read())
        self.assertRegex(self.keel("audit", "verify"), r"^OK, \d+ records")

    def test_the_configuration(self):
        with open(self.server.dir + "/keel.toml", "w", encoding="ascii") as config:
            config.write("[guard]\nmin_customers = 20\n[archive]\non = true\n")
        self.server.start()
        self.server.stop()
        last = self.records()[-1]
        self.assertEqual((last["who"], last["act"]), (OS_USER, "keel serve"))
        self.assertEqual(last["object"], "archive.on=true guard.min_customers=20")

    def test_without_a_server(self):
        self.check(served=False)

    def test_beside_a_server(self):
        self.server.start()
        self.check(served=True)
        self.server.stop()

    def test_who_changed_it(self):
        self.keel("kpi", "apply", SOURCE + "/examples/kpis/marketplace.toml")
        self.keel("segment", "add", "All", "trait n exists")
        self.keel("plan", "import", self.plan)
        self.keel("kpi", "add", "mine", "--query", "count customers", "--who", "Ann")
        self.assertEqual(self.records()[-1]["who"], OS_USER)
        self.server.start()
        with open(self.server.dir + "/admin.token", encoding="ascii") as token:
            bearer = {"Authorization": f"Bearer {token.read().strip()}"}
        get = lambda path: json.loads(self.server.request("GET", "/api/v1" + path, None, bearer)[2])
        self.assertEqual({k["changed_by"] for k in get("/kpis")["kpis"]}, {OS_USER, "Ann"})
        self.assertEqual({s["changed_by"] for s in get("/segments")["segments"]}, {OS_USER})
        self.assertEqual(get("/plan/versions")["versions"][0]["who"], OS_USER)
        # over the network nobody but the owner says who he is
        key = self.keel("key", "add", "k", "--scope", "plan.write", "--scope", "plan.read").strip()
        status, _, said = self.server.request("PUT", "/api/v1/plan?who=user%20anna", b'{"unplanned_events": "allow"}',
                                              {"Authorization": "Bearer " + key})
        self.assertEqual(status, 200, said)
        self.assertEqual(get("/plan/versions")["versions"][0]["who"], "key 1")
        self.server.stop()

    def test_what_cannot_be_noted_is_not_done(self):
        self.keel("source", "add", "one")
        with open(self.server.dir + "/audit.log", "r+b") as log:
            log.truncate(10)
        self.keel("source", "add", "two", status=65)
        self.assertNotIn("two", self.keel("source", "list"))
        self.server.start()
        with open(self.server.dir + "/admin.token", encoding="ascii") as token:
            bearer = {"Authorization": f"Bearer {token.read().strip()}"}
        self.assertEqual(self.server.request("POST", "/api/v1/sources", {"name": "two"}, bearer)[0], 500)
        self.assertEqual(self.server.request("POST", QUERY, b"count customers", bearer)[0], 200)
        self.assertNotIn("two", self.keel("source", "list"))
        self.server.stop()

    def test_backups_hold_the_log(self):
        for served in (False, True):
            with self.subTest(served=served):
                if served:
                    self.server.start()
                self.keel("source", "add", f"before {served}")
                head = self.keel("audit", "verify").split()[-1]
                known = self.records()
                backups, restored = self.files.name + "/backups", f"{self.files.name}/restored {served}"
                self.keel("backup", "--to", backups, "--quiet")
                self.keel("source", "add", f"after {served}")
                done = run("restore", "--from", backups, restored)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(run("backup", "verify", "--from", backups).returncode, 0)
                done = run("audit", "verify", "--head", head, "--data", restored)
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(restored + "/audit.log", encoding="utf-8") as log:
                    records = [json.loads(line) for line in log]
                self.assertEqual(records[:-1], self.records()[:len(records) - 1])
                self.assertEqual(records[:len(known)], known)
                # through a server the request for the backup may be in it, or not
                self.assertLessEqual(len(records), len(known) + 1 + served)
                self.assertEqual([records[-1][k] for k in ("who", "act", "object")],
                                 [OS_USER, "keel restore", f"generation {1 + served}"])
                for name in os.listdir(restored):
                    if os.path.isfile(f"{restored}/{name}") and name != "lock":
                        self.assertEqual(os.stat(f"{restored}/{name}").st_mode & 0o077, 0, name)
                with open(restored + "/audit.key", "rb") as a, open(self.server.dir + "/audit.key", "rb") as b:
                    self.assertEqual(a.read(), b.read())  # marks of customers still find them
                with open(restored + "/audit.log", "r+b") as log:
                    log.seek(-200, 2)
                    log.write(b"#")
                done = run("backup", "--data", restored, "--to", self.files.name + "/other", "--quiet")
                self.assertEqual(done.returncode, 65)
                self.assertIn(f"breaks at record {len(records)}", done.stderr)
        self.server.stop()

    def test_many_writers(self):
        """Commands at once, and a server: the chain holds, and nothing is missing in it."""
        self.server.start()
        with open(self.server.dir + "/admin.token", encoding="ascii") as token:
            bearer = {"Authorization": f"Bearer {token.read().strip()}"}
        many = [subprocess.Popen([KEEL, "key", "add", f"k{n}", "--scope", "query", "--data", self.server.dir],
                                 stdout=subprocess.DEVNULL) for n in range(12)]
        for n in range(30):
            self.assertEqual(self.server.request("POST", "/api/v1/sources", {"name": f"s{n}"}, bearer)[0], 201)
        self.assertEqual([p.wait() for p in many], [0] * len(many))
        self.server.stop()
        self.assertRegex(self.keel("audit", "verify"), "^OK, 45 records")  # with init, source add and the start of the server
        objects = [r["object"] for r in self.records()]
        self.assertEqual({f"k{n}" for n in range(12)}, {o for o in objects if o.startswith("k")})


if __name__ == "__main__":
    unittest.main()
