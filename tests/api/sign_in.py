"""See test_sign_in.sh."""
import contextlib
import json
import os
import re
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time
import unittest

from people import PASSWORD, Case, Person, run
from serve import KEEL, Server, keel, read_reply

HOUR = 3600 * 1000
ASK = b"GET /api/v1/session HTTP/1.1\r\nHost: keel.test\r\n"


class Sessions(Case):
    def test_cookie(self):
        status, headers, _ = self.server.request("POST", "/api/v1/session", {"login": "root", "password": PASSWORD})
        self.assertEqual(status, 200)
        parts = headers["set-cookie"].split("; ")
        self.assertRegex(parts[0], r"^keel_session=[\w-]{43}$")
        self.assertEqual(set(parts[1:]), {"Path=/", "HttpOnly", "SameSite=Strict"})
        self.assertEqual(headers["cache-control"], "no-store")

    def test_a_session_that_was_there_before_is_not_taken_on(self):
        before = Person(self.server, login="root", password=PASSWORD)
        status, headers, body = self.server.request(
            "POST", "/api/v1/session", {"login": "root", "password": PASSWORD}, {"Cookie": before.cookie})
        self.assertEqual(status, 200, body)
        self.assertNotEqual(headers["set-cookie"].split(";")[0], before.cookie)
        self.assertEqual(before.ask("GET", "/api/v1/session")[0], 401)
        planted = "keel_session=" + "A" * 43
        _, headers, _ = self.server.request(
            "POST", "/api/v1/session", {"login": "root", "password": PASSWORD}, {"Cookie": planted})
        self.assertNotEqual(headers["set-cookie"].split(";")[0], planted)
        self.assertEqual(self.server.request("GET", "/api/v1/session", None, {"Cookie": planted})[0], 401)

    def test_signing_out(self):
        person = Person(self.server, login="root", password=PASSWORD)
        status, headers, _ = person.ask("DELETE", "/api/v1/session")
        self.assertEqual(status, 204)
        self.assertIn("Max-Age=0", headers["set-cookie"])
        self.assertEqual(person.ask("GET", "/api/v1/session")[0], 401)

    def test_forged_requests(self):
        person, other = self.people["marketing"], self.people["it"]
        body = {"name": "k", "scopes": ["query"]}
        for headers in [{"X_CSRF_Token": None}, {"X_CSRF_Token": ""}, {"X_CSRF_Token": other.session["csrf"]},
                        {"Origin": "http://evil.test"}, {"Origin": "null"}, {"Origin": "https://keel.test"},
                        {"Origin": "http://keel.test.evil.test"}, {"Sec_Fetch_Site": "cross-site"},
                        {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "none"}]:
            with self.subTest(headers=headers):
                self.assertEqual(person.ask("POST", "/api/v1/keys", body, **headers)[0], 403)
        self.assertEqual(json.loads(person.ask("GET", "/api/v1/keys")[2])["keys"], [])
        status, _, _ = person.ask("POST", "/api/v1/keys", body, Origin="http://keel.test", Sec_Fetch_Site="same-origin")
        self.assertEqual(status, 201)
        for path in ("/api/v1/session", "/api/v1/setup"):
            status, _, _ = self.server.request("POST", path, {"login": "root", "password": PASSWORD},
                                               {"Origin": "http://evil.test"})
            self.assertEqual(status, 403, path)

    def test_links_work_once(self):
        _, _, body = self.root.ask("POST", "/api/v1/users/it/login-link")
        token = json.loads(body)["token"]
        Person(self.server, token=token)
        self.assertEqual(self.server.request("POST", "/api/v1/session", {"token": token})[0], 401)
        self.assertEqual(self.server.request("POST", "/api/v1/setup", {
            "token": self.link, "login": "evil", "password": PASSWORD})[0], 409)
        self.assertEqual(json.loads(self.server.request("GET", "/api/v1/setup")[2]), {"needed": False})
        link = keel("user", "login-link", "it", "--data", self.server.dir).strip()
        self.assertRegex(link, r"^http://127\.0\.0\.1:7480/login#[\w-]{43}$")
        Person(self.server, token=link.split("#")[1])

    def test_own_password(self):
        keel_input = subprocess.run([KEEL, "user", "add", "pat", "--role", "marketing", "--data", self.server.dir],
                                    input=PASSWORD + "\n", text=True, capture_output=True, check=False)
        self.assertEqual(keel_input.returncode, 0, keel_input.stderr)
        here, there = (Person(self.server, login="PAT", password=PASSWORD) for _ in range(2))
        change = "/api/v1/session/password"
        self.assertEqual(here.ask("PUT", change, {"old": "wrong", "new": "a longer one yet"})[0], 403)
        self.assertEqual(here.ask("PUT", change, {"old": PASSWORD, "new": "short"})[0], 400)
        self.assertEqual(here.ask("PUT", change, {"old": PASSWORD, "new": "a longer one yet"})[0], 204)
        self.assertEqual(here.ask("GET", "/api/v1/session")[0], 200)
        self.assertEqual(there.ask("GET", "/api/v1/session")[0], 401)
        self.assertEqual(self.server.request("POST", "/api/v1/session", {"login": "pat", "password": PASSWORD})[0], 401)

    def test_the_first_password_after_a_link(self):
        """Who came by a link sets a password without an old one: in that session, once."""
        change, first, second = "/api/v1/session/password", "the first of them all", "and the second one"
        def link():
            return keel("user", "login-link", "lee", "--data", self.server.dir).strip().split("#")[1]
        def told(person):
            session = json.loads(person.ask("GET", "/api/v1/session")[2])
            return session["has_password"], session["old_password_needed"]
        keel("user", "add", "lee", "--role", "marketing", "--no-password", "--data", self.server.dir)
        other, person = Person(self.server, token=link()), Person(self.server, token=link())
        self.assertEqual(told(person), (False, False))
        self.assertEqual(person.ask("PUT", change, {"new": "short"})[0], 400)
        self.assertEqual(told(person), (False, False))
        self.assertEqual(person.ask("PUT", change, {"new": first, "old": ""})[0], 403)  # what is sent is checked
        open_link = link()
        self.assertEqual(person.ask("PUT", change, {"new": first})[0], 204)
        self.assertEqual(told(person), (True, True))
        self.assertEqual(other.ask("GET", "/api/v1/session")[0], 401)
        self.assertEqual(self.server.request("POST", "/api/v1/session", {"token": open_link})[0], 401)
        status, _, said = person.ask("PUT", change, {"new": second})
        self.assertEqual(status, 400)
        self.assertIn(b'\\"old\\" is missing', said)
        typed = Person(self.server, login="lee", password=first)
        self.assertEqual(told(typed), (True, True))
        self.assertEqual(typed.ask("PUT", change, {"new": second})[0], 400)
        forgot = Person(self.server, token=link())  # has one, and does not know it
        self.assertEqual(told(forgot), (True, False))
        self.assertEqual(forgot.ask("PUT", change, {"new": second})[0], 204)
        self.assertEqual(typed.ask("GET", "/api/v1/session")[0], 401)
        Person(self.server, login="lee", password=second)
        acts = [(r["who"], r["object"], r["outcome"]) for r in self.records() if r["act"] == f"PUT {change}"]
        self.assertEqual([a for a in acts if "link" in a[1]], [("user lee", "lee, after a link", 204)] * 2)
        owner = json.loads(self.server.request("GET", "/api/v1/session", None, self.token)[2])
        self.assertEqual((owner["has_password"], owner["old_password_needed"]), (None, True))

    def test_the_last_administrator_stays(self):
        with Server() as server:
            done = subprocess.run([KEEL, "user", "add", "one", "--role", "admin", "--data", server.dir],
                                  input="short\n", text=True, capture_output=True, check=False)
            self.assertIn("5 characters; it needs 12", done.stderr)
            keel("user", "add", "one", "--role", "admin", "--no-password", "--data", server.dir)
            for words in (["disable", "one"], ["role", "one", "--role", "it"]):
                done = run("user", *words, "--data", server.dir)
                self.assertEqual(done.returncode, 77, done.stderr)
                self.assertIn("last administrator", done.stderr)


class Ends(Case):
    """How long a session lives: 12 hours unseen, 7 days in all, whatever is done in it."""
    def setUp(self):
        self.person = Person(self.server, login="root", password=PASSWORD)
        self.id = next(s["id"] for s in json.loads(self.person.ask("GET", "/api/v1/sessions")[2])["sessions"]
                       if s["current"])

    def desk(self, text, *values):
        with contextlib.closing(sqlite3.connect(self.server.dir + "/desk.db", timeout=30)) as desk, desk:
            return desk.execute(text, values).fetchone()

    def at(self, created, seen):
        """As if it had begun and been seen so many milliseconds ago."""
        now = time.time_ns() // 1000000
        self.desk("UPDATE guard_session SET created_ms = ?, seen_ms = ?, until_ms = ? WHERE id = ?", now - created,
                  now - seen, now - created + 7 * 24 * HOUR, self.id)

    def status(self):
        return self.person.ask("GET", "/api/v1/session")[0]

    def listed(self):
        every = json.loads(self.root.ask("GET", "/api/v1/sessions?all=true")[2])["sessions"]
        return self.id in [s["id"] for s in every]

    def test_unseen(self):
        self.at(created=13 * HOUR, seen=12 * HOUR - 60000)
        self.assertEqual((self.status(), self.listed()), (200, True))
        self.at(created=13 * HOUR, seen=12 * HOUR + 1)
        self.assertFalse(self.listed())
        status, _, said = self.person.ask("GET", "/api/v1/session")
        self.assertEqual(status, 401)
        self.assertIn(b"this session has ended", said)
        self.assertEqual(self.person.ask("POST", "/api/v1/keys", {"name": "k", "scopes": ["query"]})[0], 401)

    def test_in_all(self):
        self.at(created=7 * 24 * HOUR - 60000, seen=0)
        self.assertEqual((self.status(), self.listed()), (200, True))
        self.at(created=7 * 24 * HOUR + 1, seen=0)
        self.assertEqual((self.status(), self.listed()), (401, False))

    def test_being_seen_moves_the_one_end_alone(self):
        self.at(created=24 * HOUR, seen=11 * HOUR)
        _, before, until = self.desk("SELECT id, seen_ms, until_ms FROM guard_session WHERE id = ?", self.id)
        self.assertEqual(self.status(), 200)
        end = time.monotonic() + 30
        seen = before
        while seen == before and time.monotonic() < end:  # noted by a thread
            time.sleep(0.02)
            _, seen, now_until = self.desk("SELECT id, seen_ms, until_ms FROM guard_session WHERE id = ?", self.id)
        self.assertGreater(seen, before + 10 * HOUR)
        self.assertEqual(now_until, until)

    def test_a_dead_session_does_not_come_back(self):
        self.at(created=HOUR, seen=13 * HOUR)
        self.assertEqual(self.status(), 401)
        other = Person(self.server, login="root", password=PASSWORD)
        self.assertNotEqual(other.cookie, self.person.cookie)
        self.assertEqual((self.status(), other.ask("GET", "/api/v1/session")[0]), (401, 200))


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cert, key = cls.folder.name + "/cert.pem", cls.folder.name + "/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                       check=True, capture_output=True)
        cls.server = Server()
        with open(cls.server.dir + "/keel.toml", "w", encoding="utf-8") as config:
            config.write(f"[server]\ncert = '{cert}'\nkey = '{key}'\nidle_timeout = '5s'\n")
        cls.server.start()
        subprocess.run([KEEL, "user", "add", "ann", "--role", "admin", "--data", cls.server.dir], input=PASSWORD + "\n",
                       text=True, check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()
        cls.folder.cleanup()

    def context(self, version=None):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def send(self, raw):
        with self.context().wrap_socket(self.server.connect()) as conn:
            conn.sendall(raw)
            return read_reply(conn)

    def sign_in(self):
        body = json.dumps({"login": "ann", "password": PASSWORD}).encode()
        status, headers, said = self.send(b"POST /api/v1/session HTTP/1.1\r\nHost: keel.test\r\nContent-Length: %d\r\n\r\n"
                                          % len(body) + body)
        self.assertEqual(status, 200, said)
        return headers["set-cookie"]

    def test_the_cookie_belongs_to_this_host_and_to_tls(self):
        first, *rest = self.sign_in().split("; ")
        self.assertRegex(first, r"^__Host-keel_session=[\w-]{43}$")
        self.assertEqual(set(rest), {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"})  # and no Domain
        secret = first.split("=")[1]
        for name, status in (("__Host-keel_session", 200), ("keel_session", 401), ("__Secure-keel_session", 401),
                             ("__host-keel_session", 401)):
            self.assertEqual(self.send(ASK + f"Cookie: {name}={secret}\r\n\r\n".encode())[0], status, name)
        # planted from a sister domain before the real one, which a browser allows for plain names
        self.assertEqual(self.send(ASK + f"Cookie: keel_session={'A' * 43}; {first}\r\n\r\n".encode())[0], 200)

    def test_a_client_that_has_said_all(self):
        """It shuts its side behind the request, with TLS's own good-bye or without, and gets its reply."""
        cookie = self.sign_in().split(";")[0].encode()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for polite in (True, False):
                for path in [b"/healthz", b"/api/v1/session"] * 3:
                    with self.subTest(version=version, polite=polite, path=path):
                        raw = b"GET " + path + b" HTTP/1.1\r\nHost: keel.test\r\nCookie: " + cookie + b"\r\n\r\n"
                        self.assertIn(b"HTTP/1.1 200 OK", self.half_closed(raw, version, polite)[:40])
        # half a request is none
        self.assertNotIn(b"200 OK", self.half_closed(b"GET /healthz HTTP/1.1\r\nHost:", ssl.TLSVersion.TLSv1_3, True))
        self.assertEqual(self.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")[0], 200)

    def half_closed(self, raw, version, polite):
        """What comes back; the bytes are moved by hand, since wrap_socket ends both sides at once."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context(version).wrap_bio(incoming, outgoing)
        with self.server.connect() as conn:
            def until_done(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        if outgoing.pending:
                            conn.sendall(outgoing.read())
                        more = conn.recv(65536)
                        if not more:
                            incoming.write_eof()
                            raise
                        incoming.write(more)
            until_done(tls.do_handshake)
            tls.write(raw)
            if polite:
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.unwrap()
            conn.sendall(outgoing.read())
            conn.shutdown(socket.SHUT_WR)
            got = b""
            with contextlib.suppress(ssl.SSLError, ConnectionError, OSError):
                while not got.endswith(b"}\n") and (more := until_done(lambda: tls.read(65536))):
                    got += more
            return got


class Proxy(unittest.TestCase):
    def signs_in(self, trusted, **headers):
        with Server() as server:
            server.stop()
            with open(server.dir + "/keel.toml", "w", encoding="utf-8") as config:
                config.write(f"[server]\ntrust_proxy = {str(trusted).lower()}\n")
            subprocess.run([KEEL, "user", "add", "ann", "--role", "admin", "--data", server.dir], input=PASSWORD + "\n",
                           text=True, check=True, capture_output=True)
            server.start()
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return server.request("POST", "/api/v1/session", {"login": "ann", "password": PASSWORD}, headers)

    def test_tls_before_a_proxy(self):
        _, headers, _ = self.signs_in(True, X_Forwarded_Proto="https", Origin="https://keel.test")
        self.assertRegex(headers["set-cookie"], "^__Host-keel_session=.*; Secure")
        _, headers, _ = self.signs_in(False, X_Forwarded_Proto="https")
        self.assertRegex(headers["set-cookie"], "^keel_session=")
        self.assertNotIn("Secure", headers["set-cookie"])


class Limits(Case):
    def test_tries_are_limited(self):
        login = {"login": "marketing", "password": "wrong"}
        seen = [self.server.request("POST", "/api/v1/session", login) for _ in range(12)]
        self.assertEqual([s for s, _, _ in seen], [401] * 10 + [429] * 2)
        self.assertGreater(int(seen[-1][1]["retry-after"]), 800)
        before = len(self.records())
        self.server.request("POST", "/api/v1/session", login)
        self.assertEqual(len(self.records()), before, "strangers fill the log")
        # nor does it help to come in another case, or from an address that one says oneself
        for more in ({"login": " MARKETING "}, {"password": PASSWORD}):
            self.assertEqual(self.server.request("POST", "/api/v1/session", {**login, **more})[0], 429)
        self.assertEqual(self.server.request("POST", "/api/v1/session", login, {"X-Forwarded-For": "192.0.2.9"})[0], 429)
        for n in range(60):  # other logins, and links, from the same address
            status, headers, _ = self.server.request("POST", "/api/v1/session", {"token": f"x{n}"},
                                                     {"X-Forwarded-For": f"192.0.2.{n}"})
        self.assertEqual(status, 429)
        self.assertGreater(int(headers["retry-after"]), 800)
        self.assertEqual(self.server.request("POST", "/api/v1/setup", {
            "token": "x", "login": "evil", "password": PASSWORD})[0], 429)
        self.assertEqual(self.people["it"].ask("GET", "/api/v1/session")[0], 200)

    def test_the_own_password_is_not_guessed_either(self):
        """Who has somebody's open browser does not try out his password."""
        person = self.people["executive"]
        seen = [person.ask("PUT", "/api/v1/session/password", {"old": f"wrong {n}", "new": "a longer one yet"})[0]
                for n in range(12)]
        self.assertEqual(seen, [403] * 10 + [429] * 2)

    def test_the_right_one_is_forgiven(self):
        subprocess.run([KEEL, "user", "add", "kit", "--role", "it", "--data", self.server.dir], input=PASSWORD + "\n",
                       text=True, check=True, capture_output=True)
        def sign_in(password):
            return self.server.request("POST", "/api/v1/session", {"login": "kit", "password": password})[0]
        for _ in range(3):  # more wrong ones than the limit, in all
            self.assertEqual([sign_in("wrong") for _ in range(6)] + [sign_in(PASSWORD)], [401] * 6 + [200])


if __name__ == "__main__":
    unittest.main()
