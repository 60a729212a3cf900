"""See test_serve.sh."""
import json
import os
import re
import resource
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import time
import unittest

from serve import KEEL, KEY, Server, keel, read_reply

QUESTION = 'count customers where did "E"'
SOURCE = os.environ["KEEL_SOURCE"]


def run(*args, **more):
    return subprocess.run([KEEL, *args], capture_output=True, text=True, check=False, **more)


def without_cost(text):
    return re.sub(r"[0-9.]+ ms, CPU [0-9.]+ ms|\"ms\":[0-9.]+,\"cpu_ms\":[0-9.]+", "", text)


class Served(unittest.TestCase):
    """One server with a few events in its store."""
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as events:
            for n in range(20):
                events.write(json.dumps({"type": "track", "event": "E", "userId": f"u{n % 7}",
                                         "messageId": f"m{n}", "properties": {"n": n},
                                         "timestamp": f"2024-01-{n + 1:02}T10:00:00Z"}) + "\n")
            events.flush()
            keel("import", "--data", cls.server.dir, "--quiet", "--segment", events.name)
        cls.questions = [("query", QUESTION), ("query", "--format", "json", QUESTION),
                         ("query", "--format", "csv", "--explain", "list customers limit 3"),
                         ("query", "--at", "2024-01-05", QUESTION), ("query", "count custmers"),
                         ("query", "--at", "never", QUESTION),
                         ("profile", "user_id=u1"), ("profile", "--format", "json", "u2"),
                         ("profile", "--width", "60", "--limit", "1", "u1"), ("profile", "nobody")]
        cls.before = [cls.ask(q) for q in cls.questions]
        cls.server.start()
        with open(cls.server.dir + "/admin.token", encoding="ascii") as token:
            cls.token = token.read().strip()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()

    @classmethod
    def ask(cls, question):
        command, *rest = question
        done = run(command, "--data", cls.server.dir, *rest)
        return done.returncode, without_cost(done.stdout), without_cost(done.stderr)

    def request(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.request(method, path, body,
                                   {"Authorization": f"Bearer {self.token}", **headers})

    # ---- commands through the socket ----

    def test_commands_say_the_same(self):
        for question, expected in zip(self.questions, self.before):
            with self.subTest(question=question):
                self.assertEqual(self.ask(question), expected)

    def test_who_cannot_go_through_it_says_so(self):
        done = run("compact", "--data", self.server.dir)
        self.assertEqual(done.returncode, 75)
        self.assertIn("in use by another keel process", done.stderr)

    # ---- token ----

    def test_token(self):
        mode = os.stat(self.server.dir + "/admin.token").st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual(len(self.token), 43)
        self.assertNotIn(self.token, self.server.log())
        for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": self.token},
                       {"Authorization": f"Bearer {self.token}x"},
                       {"Authorization": f"Basic {self.token}"}):
            status, headers, _ = self.server.request("GET", "/api/v1/profiles/u1", None, header)
            self.assertEqual(status, 401)
            self.assertEqual(headers["www-authenticate"], 'Bearer realm="keel"')
        self.assertEqual(self.request("GET", "/api/v1/profiles/u1")[0], 200)

    # ---- resources ----

    def test_questions(self):
        for body, kind, expected in (
                (QUESTION.encode(), "application/json", '"rows":[\n[7]'),
                ({"query": QUESTION}, "application/json", "[7]"),
                ({"query": QUESTION, "at": "2024-01-04"}, "application/json", "[3]"),
                ({"query": {"form": "count"}, "format": "csv"}, "text/csv; charset=utf-8",
                 "customers\n7"),
                ({"form": "count"}, "application/json", "[7]"),
                ({"query": QUESTION, "format": "table"}, "text/plain; charset=utf-8", "---")):
            status, headers, got = self.request("POST", "/api/v1/query", body)
            self.assertEqual(status, 200, got)
            self.assertEqual(headers["content-type"], kind)
            self.assertIn(expected, got.decode())
        for body, word in ((b"", "empty"), (b"{}", "query"), ({"query": 1}, "query"),
                           ({"qurey": "x"}, "qurey"), (b"count custmers", "did you mean"),
                           ({"query": QUESTION, "format": "xml"}, "format"),
                           ({"query": QUESTION, "at": "x"}, "not a time")):
            status, headers, got = self.request("POST", "/api/v1/query", body)
            self.assertEqual(status, 400, got)
            self.assertEqual(headers["content-type"], "application/problem+json")
            self.assertIn(word, json.loads(got)["detail"])

    def test_people_of_a_row(self):
        trend = 'trend of unique customers by day'
        status, _, got = self.request("POST", "/api/v1/query/people", {"query": trend, "row": ["2024-01-02", 3]})
        self.assertEqual(status, 200, got)
        self.assertEqual(json.loads(got), {"condition": "did any event from 2024-01-02 to 2024-01-03"})
        for body, word in (({"query": trend}, "row"), ({"query": trend, "row": []}, "too few"),
                           ({"query": trend, "row": ["2024-01-02"], "column": "x"}, "no number"),
                           ({"query": "sessions with gap 1 day", "row": [1]}, "no condition is about sessions")):
            status, _, got = self.request("POST", "/api/v1/query/people", body)
            self.assertEqual(status, 400, got)
            self.assertIn(word, json.loads(got)["detail"])

    def test_profiles(self):
        status, _, got = self.request("GET", "/api/v1/profiles/user_id%3Du1?limit=2")
        self.assertEqual(status, 200)
        self.assertEqual(len(json.loads(got)["timeline"]), 2)
        self.assertEqual(self.request("GET", "/api/v1/profiles/nobody")[0], 404)
        self.assertEqual(self.request("GET", "/api/v1/profiles/u1?limit=x")[0], 400)

    def test_metrics(self):
        self.assertEqual(self.server.request("GET", "/metrics")[0], 401)
        status, headers, got = self.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain; version=0.0.4"))
        seen, typed = set(), {}
        for line in got.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, typed)
                typed[name] = kind
            elif not line.startswith("#"):
                found = re.fullmatch(r'([a-z_]+)(\{([a-z_]+="[^"\\]*",?)*\})? [0-9.e+-]+', line)
                self.assertTrue(found, line)
                self.assertNotIn(line.rsplit(" ", 1)[0], seen)
                seen.add(line.rsplit(" ", 1)[0])
                base = re.sub("_(bucket|sum|count)$", "", found[1])
                self.assertTrue(found[1] in typed or typed.get(base) == "histogram", line)
        self.assertIn("keel_store_events 20", got.decode())

    # ---- the document of the API ----

    def test_openapi(self):
        status, headers, got = self.server.request("GET", "/openapi.json")
        self.assertEqual(status, 200)
        again = self.server.request("GET", "/openapi.json", None,
                                    {"If-None-Match": headers["etag"]})
        self.assertEqual((again[0], again[2]), (304, b""))
        doc = json.loads(got)
        self.assertEqual(doc["openapi"], "3.1.0")
        names = set()
        for path, operations in doc["paths"].items():
            self.assertTrue(path.startswith("/") and operations, path)
            for method, operation in operations.items():
                self.assertIn(method, {"get", "put", "post", "patch", "delete", "options"})
                self.check_operation(path, operation, names)
        for path in ("/healthz", "/api/v1/query", "/api/v1/profiles/{id}", "/openapi.json"):
            self.assertIn(path, doc["paths"])
        self.assertEqual(doc["paths"]["/api/v1/query"]["post"]["security"], [{"token": []}])
        self.assertEqual(doc["paths"]["/healthz"]["get"]["security"], [])
        self.assertIn("token", doc["components"]["securitySchemes"])
        self.assertIn("problem", doc["components"]["responses"])

    def check_operation(self, path, operation, names):
        self.assertNotIn(operation["operationId"], names)
        names.add(operation["operationId"])
        self.assertTrue(operation["summary"])
        self.assertTrue(operation["tags"][0])
        parts = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
        self.assertEqual(parts, re.findall(r"{([^}]*)}", path))
        keys = [(p["in"], p["name"]) for p in operation["parameters"]]
        self.assertEqual(len(keys), len(set(keys)), path)
        for parameter in operation["parameters"]:
            self.check_schema(parameter["schema"], path)
            if parameter["in"] == "query":
                self.assertTrue(parameter["description"], path)
        self.assertEqual(operation["responses"]["default"],
                         {"$ref": "#/components/responses/problem"})
        for part in [operation["responses"]["200"], operation.get("requestBody", {})]:
            for content in part.get("content", {}).values():
                self.check_schema(content["schema"], path)

    def check_schema(self, schema, path):
        """Enough of JSON Schema to find what was mistyped in a table of routes."""
        kinds = {"object", "array", "string", "integer", "number", "boolean", "null"}
        known = {"type", "properties", "items", "required", "enum", "oneOf", "anyOf", "minimum",
                 "maximum", "description", "additionalProperties", "format", "minItems", "maxItems",
                 "minLength", "maxLength", "const", "default", "examples", "title", "pattern"}
        self.assertIsInstance(schema, dict, path)
        self.assertLessEqual(set(schema), known, path)
        kind = schema.get("type", [])
        self.assertLessEqual({kind} if isinstance(kind, str) else set(kind), kinds, path)
        for inner in schema.get("properties", {}).values():
            self.check_schema(inner, path)
        for inner in schema.get("oneOf", []) + schema.get("anyOf", []):
            self.check_schema(inner, path)
        for name in ("items", "additionalProperties"):
            if isinstance(schema.get(name), dict):
                self.check_schema(schema[name], path)
        self.assertLessEqual(set(schema.get("required", [])),
                             set(schema.get("properties", schema.get("required", []))), path)

    # ---- Idempotency-Key ----

    def test_idempotency(self):
        first = self.request("POST", "/api/v1/query", {"query": QUESTION}, Idempotency_Key="k1")
        again = self.request("POST", "/api/v1/query", {"query": QUESTION}, Idempotency_Key="k1")
        self.assertEqual(first[0], 200)
        self.assertNotIn("idempotent-replayed", first[1])
        self.assertEqual(again[1]["idempotent-replayed"], "true")
        self.assertEqual(first[2], again[2])  # the cost in it, too: it was not done again
        other = self.request("POST", "/api/v1/query", {"query": "count customers"},
                             Idempotency_Key="k1")
        self.assertEqual(other[0], 422)
        wrong = self.request("POST", "/api/v1/query", {"query": "x"}, Idempotency_Key="k2")
        again = self.request("POST", "/api/v1/query", {"query": "x"}, Idempotency_Key="k2")
        self.assertEqual((wrong[0], wrong[2]), (again[0], again[2]))
        self.assertEqual(again[1]["content-type"], "application/problem+json")
        self.assertEqual(self.request("POST", "/api/v1/query", {"query": QUESTION},
                                      Idempotency_Key="k" * 201)[0], 400)
        self.assertEqual(self.server.request("POST", "/api/v1/query", {"query": QUESTION},
                                             {"Idempotency-Key": "k1"})[0], 401)


class Process(unittest.TestCase):
    """Servers of their own."""

    def test_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/keel.toml"
            with open(path, "w", encoding="utf-8") as file:
                file.write(keel("config", "show"))
            self.assertIn("is good", keel("config", "check", path))
            self.assertEqual(keel("config", "show", path), keel("config", "show"))
            for text, word in (("[server]\nlisen = 'x'", "keel.toml:2:1: [server] has no option"),
                               ("[servr]\nlisten = 'x'", "did you mean server?"),
                               ("[server]\ndurability = 'commit'", "it belongs under [store]"),
                               ("[server]\nmax_body = '4XB'", "from 1KiB to 1GiB"),
                               ("[server]\nthreads = 400", "out of range"),
                               ("[server]\ntrust_proxy = 'true'", "true or false"),
                               ("[log]\nformat = 'jsn'", "auto|text|json"),
                               ("[server]\ncert = 'x'", "both server.cert and server.key"),
                               ("server = 1", "write [server]"), ("[server", "keel.toml:1")):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text + "\n")
                for command in (("config", "check", path),
                                ("serve", "--data", folder + "/none", "--config", path)):
                    done = run(*command)
                    self.assertIn(done.returncode, (64, 65), text)
                    self.assertIn(word, done.stderr, text)
        for name, value in (("KEEL_SERVER_LISTN", "x"), ("KEEL_SERVER_THREADS", "many")):
            done = run("config", "check", env={**os.environ, name: value})
            self.assertEqual(done.returncode, 64)
            self.assertIn(name, done.stderr)
        done = run("config", "show", env={**os.environ, "KEEL_SERVER_MAX_BODY": "123MiB"})
        self.assertIn('max_body = "123MiB"', done.stdout)

    def test_reference_is_that_of_the_program(self):
        with open(SOURCE + "/docs/configuration.md", encoding="utf-8") as file:
            page = file.read()
        shown = keel("config", "show", "--format", "markdown").strip()
        self.assertIn(shown, page, "put the output of keel config show --format markdown there")

    def test_stop_and_flush(self):
        with Server() as server:
            event = {"type": "track", "event": "E", "userId": "u", "messageId": "m"}
            for n in range(50):
                self.assertEqual(server.request("POST", "/v1/track", {
                    **event, "messageId": f"m{n}", "writeKey": KEY})[0], 200)
            kept = server.connect()  # an idle connection does not hold the stop up
            begun = time.monotonic()
            server.stop()
            self.assertLess(time.monotonic() - begun, 20)
            kept.close()
            self.assertEqual(len(server.events()), 50)
            self.assertFalse(os.path.exists(server.dir + "/keel.sock"))

    def test_second_signal_ends_it(self):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what runs behind `&`
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with Server() as server, server.connect() as conn:
            conn.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            while b"keel_http_requests_under_way 2" not in self.local(server, "/metrics"):
                time.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            while "the server stops" not in server.log():
                time.sleep(0.01)
            time.sleep(0.1)
            self.assertIsNone(server.process.poll())  # it waits for the request
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.process.wait(20), -signal.SIGINT)
            server.process = None

    def local(self, server, path):
        with socket.socket(socket.AF_UNIX) as conn:
            conn.connect(server.dir + "/keel.sock")
            conn.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return read_reply(conn)[2]

    def test_service_manager(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(folder + "/notify")
            manager.settimeout(30)
            os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"] = folder + "/notify", "400000"
            try:
                with Server() as server:
                    self.assertIn(b"READY=1", manager.recv(1000))
                    self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
                    server.stop()
                    told = b"WATCHDOG=1"
                    while told == b"WATCHDOG=1":
                        told = manager.recv(1000)
                    self.assertIn(b"STOPPING=1", told)
            finally:
                del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            cert, key = folder + "/cert.pem", folder + "/key.pem"

            def make_certificate():
                subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                                "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                                "-days", "2", "-subj", "/CN=localhost", "-addext",
                                "subjectAltName=DNS:localhost"], check=True, capture_output=True)

            def shown(server):
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(server.connect()) as conn:
                    return conn.getpeercert(binary_form=True)

            def hang_up(server, said):
                before = server.log().count(said)
                server.process.send_signal(signal.SIGHUP)
                while server.log().count(said) == before:
                    time.sleep(0.01)

            make_certificate()
            os.environ["KEEL_SERVER_CERT"], os.environ["KEEL_SERVER_KEY"] = cert, key
            try:
                with Server() as server:
                    context = ssl.create_default_context(cafile=cert)
                    with context.wrap_socket(server.connect(), server_hostname="localhost") as conn:
                        for _ in range(2):
                            conn.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                            self.assertEqual(read_reply(conn)[0], 200)
                    with server.connect() as plain:
                        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                        self.assertNotIn(b"200 OK", plain.recv(1000))
                    self.assertIn(b"keel_build_info", self.local(server, "/metrics"))
                    old = shown(server)
                    with context.wrap_socket(server.connect(), server_hostname="localhost") as kept:
                        make_certificate()
                        self.assertEqual(shown(server), old)
                        hang_up(server, "the certificate was read again")
                        new = shown(server)
                        self.assertNotEqual(new, old)
                        with open(key, "w", encoding="ascii") as file:
                            file.write("broken")
                        hang_up(server, "that of before stays")
                        self.assertEqual(shown(server), new)
                        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                        self.assertEqual(read_reply(kept)[0], 200)
                    server.stop()
                os.environ["KEEL_SERVER_KEY"] = cert
                other = Server()
                done = run("serve", "--data", other.dir, "--listen", "127.0.0.1:0")
                self.assertEqual(done.returncode, 64)
                self.assertIn("are they a certificate and its key?", done.stderr)
                other.__exit__()
            finally:
                del os.environ["KEEL_SERVER_CERT"], os.environ["KEEL_SERVER_KEY"]

    def test_databases_are_private(self):
        with Server() as server:
            server.stop()
            for name in ("keel.db", "desk.db", "admin.token"):
                mode = stat.S_IMODE(os.stat(f"{server.dir}/{name}").st_mode)
                self.assertEqual(mode, 0o600, name)

    def test_descriptors_run_out(self):
        """Who has a connection goes on; who comes waits, and is served when others leave."""
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        with Server() as server:
            soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
            used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 10, hard))
            held = [server.connect() for _ in range(30)]
            for conn in held[:5]:
                conn.sendall(request)
                self.assertEqual(read_reply(conn)[0], 200)
            waiting = held[-1]
            waiting.sendall(request)
            waiting.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                read_reply(waiting)
            for conn in held[:25]:
                conn.close()
            waiting.settimeout(20)
            self.assertEqual(read_reply(waiting)[0], 200)
            for conn in held[25:]:
                conn.close()
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
            server.stop()

    def test_logs_hold_no_persons(self):
        os.environ["KEEL_LOG_REQUESTS"] = "true"
        try:
            with Server() as server:
                server.request("GET", "/api/v1/profiles/ann@example.com?at=2024-01-01&x=secret")
                server.request("GET", "/ann@example.com?secret")
                server.stop()
                lines = [json.loads(line) for line in server.log().splitlines()]
                self.assertTrue(all(line["time"].endswith("Z") for line in lines))
                routes = [line["route"] for line in lines if line["message"] == "request"]
                # Two connections: a line is written when its reply is gone, in the one's or the other's turn.
                self.assertCountEqual(routes, ["/api/v1/profiles/{id}", "-"])
                for word in ("ann@", "secret", "127.0.0.1\"", "2024-01-01"):
                    self.assertNotIn(word, server.log())
        finally:
            del os.environ["KEEL_LOG_REQUESTS"]


if __name__ == "__main__":
    unittest.main(verbosity=1)
