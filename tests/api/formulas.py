"""See test_formulas.sh."""
import csv
import io
import json
import subprocess
import tempfile
import unittest
import urllib.request

from serve import KEEL, KEY, Server, keel

SIGNS = "=+-@\t\r\n＝"
EVIL = ["=1+1", "+49 30 1234", "-2+3", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "'=1", '=HYPERLINK("http://x.test","a,b")']
FINE = ["-5", "-", "+7.5e3", "plain", "it's", "a=b", "€", ""]
PLAN = '[event.Order.property]\ntotal = { type = "number" }\n'


def taken_back(text):
    """The text that a cell stands for."""
    bare = text.lstrip("'")
    return text[1:] if len(bare) < len(text) and bare and bare[0] in SIGNS else text


def is_formula(text):
    if len(text) < 2 or text[0] not in SIGNS:
        return False
    try:
        float(text)
        return False
    except ValueError:
        return True


class Formulas(unittest.TestCase):
    """Everything that writes CSV, from a directory full of texts that spreadsheets would run."""
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.texts = EVIL + FINE
        lines = []
        for n, text in enumerate(cls.texts):
            who = (text.strip() or "u") + f" {n}" if n < len(EVIL) else f"u{n}"
            who = text[0] + who if text and text[0] in "\t\r\n" else who
            lines.append({"type": "identify", "userId": who, "messageId": f"i{n}", "timestamp": "2026-01-01T10:00:00Z",
                          "traits": {"says": text, "=n": -n}})
            lines.append({"type": "track", "event": "Order", "userId": who, "messageId": f"o{n}",
                          "timestamp": f"2026-01-0{1 + n % 5}T10:00:00Z",
                          "properties": {"says": text, "total": -n - 0.5, "list": [{"sku": text}]}})
        lines += [{"type": "track", "event": "=Evil", "anonymousId": "@anon", "messageId": "e", "properties": {"=p": True},
                   "timestamp": "2026-01-02T10:00:00Z"}]
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson", encoding="utf-8") as events:
            events.write("".join(json.dumps(line) + "\n" for line in lines))
            events.flush()
            keel("import", "--data", cls.server.dir, "--quiet", "--segment", events.name)
        cls.keel("segment", "add", "=All", 'did "Order"')
        cls.keel("kpi", "add", "evil", "--name", "=Evil", "--query", 'total of count("Order")', "--unit", "count",
                 "--owner-marketing", "@m", "--owner-it", "+it")
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as plan:
            plan.write(PLAN)
            plan.flush()
            cls.keel("plan", "import", plan.name)
        cls.server.start()
        cls.key = {"Authorization": "Bearer " + keel("key", "add", "k", "--scope", "query", "--scope", "export", "--scope",
                                                     "personal.read", "--data", cls.server.dir).strip()}

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()

    @classmethod
    def keel(cls, *words):
        done = subprocess.run([KEEL, *words, "--data", cls.server.dir], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def get(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/api/v1{path}", data=body,
                                         headers={**self.key, "Accept": "text/csv"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read().decode()

    def check(self, safe, raw, hold=()):
        """Both say the same, the first without a formula. hold: texts that must be among the cells."""
        safe, raw = (list(csv.reader(io.StringIO(text, newline=""))) for text in (safe, raw))
        self.assertEqual([[taken_back(cell) for cell in row] for row in safe], raw)
        self.assertEqual([cell for row in safe for cell in row if is_formula(cell)], [])
        cells = {cell for row in raw for cell in row}
        self.assertTrue(any(map(is_formula, cells)), raw)
        for text in hold:
            self.assertIn(text, cells)
        return safe, raw

    def commands(self, *words, hold=()):
        return self.check(self.keel(*words, "--format", "csv"), self.keel(*words, "--format", "csv", "--raw"), hold)

    def test_answers(self):
        question = "list customers with trait says, trait `=n` limit 100"
        for ask in ('top 100 "Order".says', question):
            safe, _ = self.commands("query", ask, hold=EVIL[:4] + ["-5"])
            texts = self.get("/query", ask.encode()), self.get("/query?raw=true", ask.encode())
            self.assertEqual(self.check(*texts)[0], safe)
            body = json.dumps({"query": ask, "format": "csv", "raw": True}).encode()
            self.assertEqual(self.get("/query", body), texts[1])
        self.assertIn("-3", {cell for row in safe for cell in row})  # of a column of numbers

    def test_events(self):
        safe, _ = self.commands("export", "--quiet", hold=EVIL + ["=Evil", "@anon", "-3.5"])
        self.assertEqual(self.check(self.get("/export?format=csv"), self.get("/export?format=csv&raw=true"))[0], safe)
        self.server.stop()  # and by the command itself
        try:
            self.assertEqual(self.commands("export", "--quiet")[0], safe)
            self.commands("segment", "export", "=All", "--traits", "says,=n")
            self.commands("query", 'top 100 "Order".says')
        finally:
            self.server.start()

    def test_members(self):
        safe, raw = self.commands("segment", "export", "=All", "--traits", "says,=n", hold=EVIL[:4] + ["=n", "-7"])
        self.assertEqual(safe[0], ["customer", "user_id", "anonymous_id", "says", "'=n"])
        path = "/segments/1/export?format=csv&traits=says,%3Dn"
        self.assertEqual(self.check(self.get(path), self.get(path + "&raw=true")), (safe, raw))

    def test_neither_true_nor_false(self):
        for path, body in (("/segments/1/export?format=csv&{}", None), ("/export?{}", None), ("/query?{}", b"count customers")):
            self.assertEqual(self.get(path.format("raw=false"), body), self.get(path.format("x=1"), body))
            with self.assertRaises(urllib.error.HTTPError) as refused:
                self.get(path.format("raw=1"), body)
            self.assertEqual(refused.exception.code, 400)
            self.assertIn("raw=1: write true or false", refused.exception.read().decode())

    def test_kpis_and_quarantine(self):
        self.commands("kpi", "list", hold=["=Evil"])
        status, _, body = self.server.request("POST", "/v1/batch", {"writeKey": KEY, "batch": [
            {"type": "track", "event": "Order", "userId": "=cmd", "messageId": "q", "properties": {"total": "x"}}]})
        self.assertEqual(status, 200, body)
        self.commands("quarantine", "list", hold=["=cmd"])


if __name__ == "__main__":
    unittest.main()
