"""See test_access.sh."""
import json
import os
import re
import sqlite3
import unittest
import urllib.parse

from people import PASSWORD, QUERY, ROLES, Case, run
from serve import KEY

SOURCE = os.environ["KEEL_SOURCE"]
SCRIPT = "<script>alert(1)</script>"


class Rights(Case):
    def test_every_route_by_every_role(self):
        document = json.loads(self.server.request("GET", "/openapi.json")[2])
        allowed = {r["role"]: r["rights"] for r in json.loads(self.root.ask("GET", "/api/v1/rights")[2])["roles"]}
        self.assertEqual(sorted(allowed), sorted(ROLES))
        tried = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                right = operation["x-keel-right"]
                self.assertNotEqual(right, "none", path)
                if right in ("public", "write key"):
                    self.assertEqual(operation["security"], [])
                    continue
                self.assertTrue(operation["security"], path)
                target = re.sub(r"\{\w+\}", "0", path)
                for role in [None, *ROLES]:
                    with self.subTest(method=method, path=path, role=role):
                        tried += 1
                        self.one_route(method.upper(), target, right, role, allowed)
        self.assertGreater(tried, 200)

    def one_route(self, method, path, right, role, allowed):
        body = None if method == "GET" else b"{}"
        if role is None:
            status, _, said = self.server.request(method, path, body)
            self.assertEqual(status, 401, said)
            return
        status, _, said = self.people[role].ask(method, path, body)
        if right == "signed in" or right in allowed[role]:
            self.assertNotEqual(status, 401, said)
            self.assertNotIn(b"this needs the right " + right.encode(), said)
        else:
            self.assertEqual(status, 403, said)
            self.assertIn(b"this needs the right " + right.encode(), said)
        if (method, path) == ("DELETE", "/api/v1/session"):
            self.assertEqual(status, 204)
            self.people[role] = self.sign_in(role)

    def test_every_change_needs_the_csrf_token(self):
        """A cookie alone, or with what another page can send, changes nothing."""
        document = json.loads(self.server.request("GET", "/openapi.json")[2])
        root, other = self.root, self.people["it"]
        tried = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method == "get" or operation["x-keel-right"] in ("public", "write key"):
                    continue
                target = re.sub(r"\{\w+\}", "0", path)
                for headers, word in [({"X_CSRF_Token": None}, b"X-CSRF-Token"), ({"X_CSRF_Token": ""}, b"X-CSRF-Token"),
                                      ({"X_CSRF_Token": other.session["csrf"]}, b"X-CSRF-Token"),
                                      ({"Origin": "http://evil.test"}, b"not of this server"),
                                      ({"Sec_Fetch_Site": "cross-site"}, b"somebody else"),
                                      ({"X_CSRF_Token": None, "Content_Type": "text/plain"}, b"X-CSRF-Token"),
                                      ({"X_CSRF_Token": None, "X_HTTP_Method_Override": "GET"}, b"X-CSRF-Token")]:
                    tried += 1
                    with self.subTest(method=method, path=path, headers=headers):
                        status, _, said = root.ask(method.upper(), target, b"{}", **headers)
                        self.assertEqual(status, 403, said)
                        self.assertIn(word, said)
        self.assertGreater(tried, 150)
        self.assertEqual(root.ask("GET", "/api/v1/session")[0], 200)

    def test_no_get_changes_anything(self):
        """So that the token can be asked of the others alone."""
        before = len(self.records())
        dump = lambda: [list(sqlite3.connect(f"file:{self.server.dir}/desk.db?mode=ro", uri=True).execute(
            f"SELECT * FROM {table}")) for table in ("source", "plan_version", "guard_account", "guard_key")]
        state = dump()
        document = json.loads(self.server.request("GET", "/openapi.json")[2])
        for path, methods in document["paths"].items():
            if "get" in methods and not path.endswith(("/stream", "/tail")):
                self.root.ask("GET", re.sub(r"\{\w+\}", "0", path) + "?name=x&id=1&delete=true", b"{}")
        self.assertEqual(dump(), state)
        self.assertEqual([r["act"] for r in self.records()[before:] if not r["act"].startswith("GET")], [])

    def test_the_page_says_what_the_program_does(self):
        with open(SOURCE + "/docs/security.md", encoding="utf-8") as page:
            rows = re.findall(r"^\| `([a-z.]+)` \| (.*?) \|(.*)\|$", page.read(), re.M)
        answer = json.loads(self.root.ask("GET", "/api/v1/rights")[2])
        self.assertEqual([(r, what) for r, what, _ in rows],
                         [(r["right"], r["allows"]) for r in answer["rights"]])
        for n, role in enumerate(r for r in ROLES if r != "admin"):
            said = [r for r, _, marks in rows if marks.split("|")[n].strip() == "x"]
            self.assertEqual(said, next(r["rights"] for r in answer["roles"] if r["role"] == role), role)

    def test_change_of_role_counts_at_once(self):
        self.root.ask("POST", "/api/v1/users", {"login": "mover", "role": "partner"})
        mover = self.sign_in("mover")
        self.assertEqual(mover.ask("GET", "/api/v1/plan")[0], 403)
        self.assertEqual(self.root.ask("PATCH", "/api/v1/users/mover", {"role": "executive"})[0], 200)
        self.assertEqual(mover.ask("GET", "/api/v1/plan")[0], 200)
        self.assertEqual(run("user", "disable", "mover", "--data", self.server.dir).returncode, 0)
        self.assertEqual(mover.ask("GET", "/api/v1/plan")[0], 401)

    def test_objects_of_others(self):
        """A number that is not one's own is not there."""
        a, b = self.people["marketing"], self.people["it"]
        _, _, made = a.ask("POST", "/api/v1/keys", {"name": "k", "scopes": ["query"]})
        number = json.loads(made)["key"]["id"]
        self.assertEqual(b.ask("DELETE", f"/api/v1/keys/{number}")[0], 404)
        self.assertEqual(json.loads(b.ask("GET", "/api/v1/keys")[2])["keys"], [])
        sessions = json.loads(a.ask("GET", "/api/v1/sessions")[2])["sessions"]
        self.assertEqual({s["user"] for s in sessions}, {"marketing"})
        self.assertEqual(b.ask("DELETE", f"/api/v1/sessions/{sessions[0]['id']}")[0], 404)
        self.assertEqual(b.ask("GET", "/api/v1/sessions?all=true")[0], 403)
        self.assertEqual(a.ask("DELETE", f"/api/v1/keys/{number}")[0], 204)

    def test_keys(self):
        a = self.people["marketing"]
        self.assertEqual(a.ask("POST", "/api/v1/keys", {"name": "k", "scopes": ["user.admin"]})[0], 403)
        self.assertEqual(a.ask("POST", "/api/v1/keys", {"name": "k", "scopes": ["all"]})[0], 400)
        self.assertEqual(a.ask("POST", "/api/v1/keys", {"name": "k", "scopes": []})[0], 400)
        _, _, made = a.ask("POST", "/api/v1/keys", {"name": "k", "scopes": ["query"]})
        made = json.loads(made)
        bearer = {"Authorization": f"Bearer {made['secret']}"}
        self.assertEqual(self.server.request("POST", QUERY, b"count customers", bearer)[0], 200)
        self.assertEqual(self.server.request("GET", "/api/v1/fate", None, bearer)[0], 403)
        self.assertEqual(self.server.request("POST", "/api/v1/keys", {"name": "x", "scopes": ["query"]}, bearer)[0], 403)
        self.assertEqual(a.ask("DELETE", f"/api/v1/keys/{made['key']['id']}")[0], 204)
        self.assertEqual(self.server.request("POST", QUERY, b"count customers", bearer)[0], 401)
        for bad in ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer keel_", "Bearer " + "x" * 48, "Bearer \xff"]:
            raw = f"GET /api/v1/plan HTTP/1.1\r\nHost: k\r\nAuthorization: {bad}\r\n\r\n".encode("latin-1")
            self.assertEqual(self.server.send(raw)[0], 401, bad)

    def test_idempotency_is_one_callers(self):
        """The same key and request by somebody with fewer rights does not get the other's reply."""
        key = {"Idempotency-Key": "same"}
        admin, other = self.people["admin"], self.people["marketing"]
        question = b"list customers"
        self.assertEqual(admin.ask("POST", QUERY, question, **key)[0], 200)
        status, headers, _ = other.ask("POST", QUERY, question, **key)
        self.assertEqual(status, 422)
        self.assertNotIn("idempotent-replayed", headers)
        made = self.root.ask("POST", "/api/v1/users", {"login": "once", "role": "partner"})
        self.assertEqual(made[0], 201)
        first = self.root.ask("POST", "/api/v1/users/once/login-link", **{"Idempotency-Key": "link"})[2]
        again = self.root.ask("POST", "/api/v1/users/once/login-link", **{"Idempotency-Key": "link"})[2]
        self.assertNotEqual(first, again, "a secret was kept to be replayed")


class Harm(Case):
    """Input that means harm, or nothing at all."""
    SQL = ["'", "''", "1' OR '1'='1", "'; DROP TABLE guard_account; --", "\" OR \"\"=\"", "1; SELECT 1", "%00", "\\"]

    def operations(self):
        """Every route of the document but collectors and what ends the session that asks."""
        document = json.loads(self.server.request("GET", "/openapi.json")[2])
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["x-keel-right"] != "write key" and (method, path) != ("delete", "/api/v1/session"):
                    yield method.upper(), path, operation

    def with_everywhere(self, method, path, operation, text):
        """Asks with a text as each part of the path, each parameter, and each member of the body in turn."""
        value = urllib.parse.quote(text, safe="")
        query = "&".join(p["name"] + "=" + value for p in operation["parameters"] if p["in"] == "query")
        target = re.sub(r"\{\w+\}", value, path) + "?" + query
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        good = {name: "x" for name in schema.get("required", [])}
        bodies = [{**good, name: text} for name in schema.get("properties", {})]
        bodies += [{name: text for name in schema.get("properties", {})}, text.encode()]
        for body in [None] if method == "GET" else bodies:
            yield target, self.root.ask(method, target, body)

    def test_sql_through_every_parameter(self):
        tables = self.tables()
        tried = 0
        for method, path, operation in self.operations():
            for bad in self.SQL:
                for target, (status, _, said) in self.with_everywhere(method, path, operation, bad):
                    tried += 1
                    self.assertNotIn(status, (500, 502), (method, target, said))
                    for sign in (b"SQL", b"syntax error", b"no such table", b"desk.db"):
                        if status >= 400 and "query" not in path and "export" not in path and "segments" not in path:
                            self.assertNotIn(sign, said, (method, target))
        self.assertGreater(tried, 1000)
        self.assertEqual(self.tables(), tables)
        self.assertEqual(self.root.ask("GET", "/api/v1/session")[0], 200)

    def test_sql_through_collectors(self):
        tables = self.tables()
        for bad in self.SQL:
            value = urllib.parse.quote(bad, safe="")
            event = {"type": "track", "event": bad, "userId": bad, "anonymousId": bad, "messageId": bad,
                     "properties": {bad: bad, "list": [{bad: bad}]}, "context": {bad: bad}}
            for path in ("/v1/track", "/v1/identify", "/v1/batch", "/v1/merge", "/v1/s2s/event"):
                for headers in ({"X-Write-Key": bad.replace("%00", "")}, {"Authorization": "Basic " + bad}, {"X-Write-Key": KEY}):
                    for body in (event, {"batch": [event], "writeKey": bad}):
                        status, _, said = self.server.request("POST", f"{path}?writeKey={value}", body, headers)
                        self.assertIn(status, (200, 400, 401, 404), (path, headers, said))
            self.assertIn(self.server.request("GET", f"/v1/projects/{value}/settings")[0], (200, 401, 404))
        self.assertEqual(self.tables(), tables)

    def test_every_reply_says_what_it_is(self):
        """A script in every parameter and member comes back, if at all, as what no browser runs."""
        kinds, tried = set(), 0
        for method, path, operation in self.operations():
            for target, (status, headers, said) in self.with_everywhere(method, path, operation, SCRIPT):
                tried += 1
                with self.subTest(method=method, path=target, status=status):
                    self.assertEqual(headers["x-content-type-options"], "nosniff")
                    self.assertNotIn(b"<script>alert(1)</script>", said if "html" in headers.get("content-type", "") else b"")
                    if not path.startswith("/api/") or operation["x-keel-right"] == "public" and method == "GET":
                        continue
                    self.assertIn("default-src 'none'", headers["content-security-policy"])
                    self.assertEqual(headers["cache-control"], "no-cache" if "etag" in headers else "no-store")
                    kind = headers.get("content-type", "none").split(";")[0]
                    if status >= 400:
                        self.assertEqual(kind, "application/problem+json", said)
                        self.assertIn("detail", json.loads(said))
                    kinds.add(kind)
        self.assertGreater(tried, 150)
        self.assertLessEqual(kinds, {"application/json", "application/problem+json", "application/x-ndjson", "none",
                                     "text/event-stream", "application/toml", "text/plain", "text/csv"})

    def test_every_body_has_a_limit(self):
        """Larger than any route takes: refused by its length, before it is read or anything is done."""
        before = len(self.records())
        for method, path, operation in self.operations():
            if method == "GET":
                continue
            target = re.sub(r"\{\w+\}", "0", path)
            head = f"{method} {target} HTTP/1.1\r\nHost: k\r\nCookie: {self.root.cookie}\r\n"
            head += f"X-CSRF-Token: {self.root.session['csrf']}\r\nContent-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n"
            with self.subTest(method=method, path=path):
                self.assertEqual(self.server.send(head.encode())[0], 413)
        self.assertEqual(len(self.records()), before)
        for raw, status in ((b"GET /api/v1/users?" + b"x" * 40000 + b" HTTP/1.1\r\nHost: k\r\n\r\n", (414, 431)),
                            (b"GET /healthz HTTP/1.1\r\nHost: k\r\nX: " + b"x" * 40000 + b"\r\n\r\n", (431,)),
                            (b"GET /healthz HTTP/1.1\r\nHost: k\r\n" + b"X: y\r\n" * 9000 + b"\r\n", (431,))):
            self.assertIn(self.server.send(raw)[0], status)

    def tables(self):
        desk = sqlite3.connect(f"file:{self.server.dir}/desk.db?mode=ro", uri=True)
        names = [row[0] for row in desk.execute("SELECT name FROM sqlite_master ORDER BY name")]
        logins = [row[0] for row in desk.execute("SELECT login FROM guard_account ORDER BY login")]
        desk.close()
        return names, logins

    def test_no_part_of_a_path_leads_to_a_file(self):
        names = ["admin.token", "audit.key", "desk.db", "keel.db", "audit.log"]
        with open(self.server.dir + "/audit.key", "rb") as file:
            key = file.read().strip()
        for method, path, operation in self.operations():
            if "{" not in path or method != "GET":
                continue
            for way in ("..%2f", "..%2f..%2f", "%2e%2e/", "..%5c", "%252e%252e%252f", self.server.dir + "/"):
                for name in names:
                    target = re.sub(r"\{[^}]*\}", way + name, path)
                    status, _, said = self.root.ask("GET", target)
                    for secret in (self.token["Authorization"][7:].encode(), key, b"SQLite format", b'"previous":'):
                        self.assertNotIn(secret, said, (target, status))

    def test_paths_lead_nowhere_else(self):
        for path in ["/../admin.token", "/..%2fadmin.token", "/%2e%2e/%2e%2e/etc/passwd", "/assets/../../admin.token",
                     "/api/v1/../../admin.token", "/api/v1/profiles/..%2f..%2fadmin.token", "//etc/passwd",
                     "/api/v1/sources/..%2f..%2f", "/.%00./admin.token", "/..\\..\\admin.token", "/admin.token",
                     "/desk.db", "/audit.log", "/keel.toml"]:
            for person in (None, self.root):
                ask = person.ask if person else self.server.request
                status, _, body = ask("GET", path)
                with self.subTest(path=path, signed_in=bool(person)):
                    self.assertNotIn(self.token["Authorization"][7:].encode(), body)
                    self.assertNotIn(b"root:", body)
                    self.assertNotIn(b"SQLite format", body)
                    if status == 200:
                        self.assertIn(b"<!doctype html", body[:200].lower(), "only the screens answer there")

    def test_script_comes_back_as_text(self):
        """Stored in every text that an event, an account or a key can carry; shown by all that shows it."""
        event = {"type": "track", "event": SCRIPT, "userId": SCRIPT, "messageId": "s1", "properties": {SCRIPT: SCRIPT},
                 "context": {"page": {"url": SCRIPT}}, "anonymousId": SCRIPT}
        traits = {"type": "identify", "userId": SCRIPT, "messageId": "s2", "traits": {SCRIPT: SCRIPT, "country": SCRIPT}}
        for path, body in (("/v1/track", event), ("/v1/identify", traits)):
            self.assertEqual(self.server.request("POST", path, body, {"X-Write-Key": KEY})[0], 200)
        self.root.ask("POST", "/api/v1/users", {"login": "script", "role": "partner", "name": SCRIPT})
        self.root.ask("POST", "/api/v1/keys", {"name": SCRIPT, "scopes": ["query"]})
        self.root.ask("POST", "/api/v1/sources", {"name": SCRIPT})
        places = [("GET", "/api/v1/users"), ("GET", "/api/v1/keys"), ("GET", "/api/v1/sources"), ("GET", "/api/v1/export"),
                  ("GET", "/api/v1/export?format=csv"), ("GET", "/api/v1/plan/infer"), ("GET", "/api/v1/audit"),
                  ("GET", "/api/v1/profiles/" + urllib.parse.quote(SCRIPT, safe="")), ("GET", "/api/v1/quarantine"),
                  ("GET", "/api/v1/tail?history=10"), ("GET", "/" + SCRIPT), ("GET", "/api/v1/" + SCRIPT),
                  ("GET", "/api/v1/fate?" + urllib.parse.quote(SCRIPT)), ("POST", SCRIPT)]
        for method, path in places:
            for form in ("application/json", "text/plain", "text/csv", "text/html"):
                target = QUERY if path == SCRIPT else path
                body = b"list customers with trait country" if path == SCRIPT else None
                raw = f"{method} {target} HTTP/1.1\r\nHost: k\r\nAccept: {form}\r\n"
                raw += f"Cookie: {self.root.cookie}\r\nX-CSRF-Token: {self.root.session['csrf']}\r\n"
                raw += f"Content-Length: {len(body or b'')}\r\n\r\n"
                status, headers, said = self.server.send(raw.encode() + (body or b""))
                with self.subTest(path=target, form=form):
                    self.assertEqual(headers["x-content-type-options"], "nosniff")
                    kind = headers.get("content-type", "").split(";")[0]
                    if kind == "text/html":
                        self.assertNotIn(SCRIPT.encode(), said)
                    else:
                        self.assertIn(kind, ("application/json", "application/problem+json", "text/plain", "text/csv",
                                             "application/x-ndjson", "text/event-stream"), status)
                    if target.startswith("/api/v1/") and status < 400:
                        self.assertIn("default-src 'none'", headers["content-security-policy"])
                        self.assertEqual(headers["cache-control"], "no-store")

    def test_odd_bodies(self):
        odd = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"{\"login\":1}", b"{\"login\":\"a\"}",
               b"{\"login\":\"root\",\"password\":null}", b"{\"login\":[],\"password\":{}}", b"{\"evil\":1}",
               b"{\"login\":\"" + b"x" * 70000 + b"\",\"password\":\"y\"}", b"[" * 2000, b"\x00" * 100,
               b"{\"login\":\"\\u0000\",\"password\":\"\\ud800\"}"]
        for body in odd:
            for path in ("/api/v1/session", "/api/v1/setup"):
                status, _, _ = self.server.request("POST", path, body)
                self.assertIn(status, (400, 401, 409, 413, 429), (path, body[:40]))
            for method, path in (("POST", "/api/v1/users"), ("PATCH", "/api/v1/users/root"), ("POST", "/api/v1/keys")):
                status, _, said = self.root.ask(method, path, body)
                self.assertIn(status, (400, 413), (path, body[:40], said))
        for limit in ("0", "-1", "1001", "x", "1e3", "99999999999999999999"):
            self.assertEqual(self.root.ask("GET", f"/api/v1/audit?limit={limit}")[0], 400)
        self.assertEqual(self.root.ask("GET", "/api/v1/audit?cursor=7")[0], 400)
        for cookie in ("keel_session=", "keel_session", "keel_session=" + "x" * 8000, "a=b; keel_session=\xff", ";;;=;"):
            raw = f"GET /api/v1/session HTTP/1.1\r\nHost: k\r\nCookie: {cookie}\r\n\r\n".encode("latin-1")
            self.assertEqual(self.server.send(raw)[0], 401, cookie[:30])


if __name__ == "__main__":
    unittest.main()
