"""See test_pages.sh. Prepares the server and what the pages must show, then lets pages.mjs walk."""
import base64
import csv
import datetime
import io
import json
import os
import re
import subprocess
import sys
import time

from serve import KEEL, KEY, Server, keel

SOURCE = os.environ["KEEL_SOURCE"]
FUNNEL = 'funnel "Product Viewed", "Product Added", "Order Completed" within 7 days'
CONDITION = 'sum("Order Completed".revenue) > 50 during last 30 days and identified'
SCRIPT = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
PLAN = '[event."Order Completed".property]\nrevenue = { type = "number", required = true, min = 0, class = "public" }\n'


def rows(directory, query):
    text = keel("query", "--data", directory, "--format", "csv", query)
    return list(csv.reader(io.StringIO(text)))[1:]


def event(named, user, number, **properties):
    return {"type": "track", "event": named, "userId": user, "messageId": f"live-{number}", "properties": properties}


def printed(server):
    with open(server.dir + ".out", encoding="utf-8") as out:
        return out.read()


def main():
    server = Server()
    try:
        start = datetime.date.today() - datetime.timedelta(days=45)
        events = server.dir + ".ndjson"
        keel("simulate", "--customers", "800", "--days", "45", "--events", "16k", "--seed", "11",
             "--start", start.isoformat(), "--out", events)
        keel("import", "--data", server.dir, "--segment", events, "--quiet")
        with open(server.dir + ".toml", "w", encoding="utf-8") as plan:
            plan.write(PLAN)
        keel("plan", "import", plan.name, "--data", server.dir)
        keel("kpi", "apply", os.path.join(SOURCE, "examples/kpis/marketplace.toml"), "--data", server.dir)
        people = "list customers where identified and unique(any event.context.channel) >= 2 and trait email exists"
        who = rows(server.dir, people + " with trait email, count(any event) limit 1")[0]
        profile = json.loads(keel("profile", "--data", server.dir, "--format", "json", f"user_id={who[0]}"))
        device = next(i["id"] for i in profile["identifiers"] if i["type"] == "anonymous_id")
        funnel = [row[2] for row in rows(server.dir, FUNNEL)]
        size = rows(server.dir, "count customers where " + CONDITION)[0][0]
        server.start()
        end = time.monotonic() + 30
        while not (link := re.search(r"/setup#(\S+)\n", printed(server))) and time.monotonic() < end:
            time.sleep(0.05)
        live = [event("Product Viewed", who[0], 1, name=SCRIPT, price=5),
                event("Order Completed", who[0], 2, order_id="o-live"),
                event(SCRIPT, who[0], 3)]
        basic = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
        given = {
            "url": f"http://127.0.0.1:{server.port}", "setup": link[1], "user": who[0], "email": who[1],
            "device": device, "funnelQuery": FUNNEL, "funnel": funnel,
            "condition": CONDITION, "conditionSize": size, "script": SCRIPT, "live": live,
            "basic": basic, "key": KEY, "shots": os.path.join(SOURCE, "build/web/shots"),
            "modules": os.path.join(SOURCE, "web/"), "chromium": "/usr/bin/chromium", "keel": KEEL,
        }
        walk = os.path.join(SOURCE, "tests/support/web/pages.mjs")
        return subprocess.run(["node", walk, json.dumps(given)], timeout=200, check=False).returncode
    finally:
        server.__exit__()


if __name__ == "__main__":
    sys.exit(main())
