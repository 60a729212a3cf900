"""A server with a small simulated marketplace, for tests that walk the screens."""
import base64
import csv
import datetime
import io
import os
import re
import subprocess
import time
import json

from serve import KEEL, KEY, Server, keel

SOURCE = os.environ["KEEL_SOURCE"]
PLAN = '[event."Order Completed".property]\nrevenue = { type = "number", required = true, min = 0, class = "public" }\n'


def rows(directory, query):
    text = keel("query", "--data", directory, "--format", "csv", query)
    return list(csv.reader(io.StringIO(text)))[1:]


def everywhere(user, name, number=1):
    """Events of which every text is this one; the last is one that the plan refuses."""
    key = f"{name[:20]}-{number}-"
    return [
        {"type": "identify", "userId": user, "messageId": key + "1", "traits": {"name": name, "plan": name, name[:60]: name}},
        {"type": "track", "userId": user, "messageId": key + "2", "event": name,
         "properties": {"name": name, name[:60]: name, "products": [{"name": name, name[:50]: name}]},
         "context": {"channel": name, "page": {"path": name, "title": name}}},
        {"type": "page", "userId": user, "messageId": key + "3", "name": name, "properties": {"title": name, "url": "javascript:alert(1)"}},
        {"type": "track", "userId": name, "anonymousId": name, "messageId": key + "4", "event": "Product Viewed", "properties": {"category": name}},
        {"type": "track", "userId": name, "messageId": key + "5", "event": "Order Completed", "properties": {"order_id": name, "revenue": name}},
    ]


class Marketplace(Server):
    """Filled, not yet started."""
    def __init__(self):
        super().__init__()
        start = datetime.date.today() - datetime.timedelta(days=45)
        events = self.dir + ".ndjson"
        keel("simulate", "--customers", "800", "--days", "45", "--events", "16k", "--seed", "11",
             "--start", start.isoformat(), "--out", events)
        keel("import", "--data", self.dir, "--segment", events, "--quiet")
        with open(self.dir + ".toml", "w", encoding="utf-8") as plan:
            plan.write(PLAN)
        keel("plan", "import", plan.name, "--data", self.dir)
        keel("kpi", "apply", os.path.join(SOURCE, "examples/kpis/marketplace.toml"), "--data", self.dir)
        people = "list customers where identified and unique(any event.context.channel) >= 2 and trait email exists"
        self.user, self.email = rows(self.dir, people + " with trait email, count(any event) limit 1")[0][:2]

    def setup_link(self):
        end = time.monotonic() + 30
        while not (link := re.search(r"/setup#(\S+)\n", self.said())) and time.monotonic() < end:
            time.sleep(0.05)
        return link[1]

    def account(self, role):
        """Made while the server runs; a token that signs in once."""
        keel("user", "add", role, "--role", role, "--no-password", "--data", self.dir)
        link = keel("user", "login-link", role, "--data", self.dir, "--listen", f"127.0.0.1:{self.port}")
        return link.strip().split("#")[1]

    def walk(self, script, /, **given):
        """The exit status of tests/support/web/SCRIPT; what it is given is JSON."""
        given = {
            "url": f"http://127.0.0.1:{self.port}", "user": self.user, "email": self.email, "keel": KEEL,
            "basic": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode(), "chromium": "/usr/bin/chromium",
            "shots": os.path.join(SOURCE, "build/web/shots"), "modules": os.path.join(SOURCE, "web/"), **given,
        }
        path = os.path.join(SOURCE, "tests/support/web", script)
        return subprocess.run(["node", path, json.dumps(given)], timeout=880, check=False).returncode
