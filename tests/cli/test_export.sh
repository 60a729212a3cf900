#!/bin/bash
# Export and import again: the same lines, the same answers. A simulated marketplace with all its
# dirt, events made to be hard (dots in names, values beside objects, equal events, alias, group,
# late rows in several parts), filters, and CSV read by Python's own reader.
# ctest: timeout=300
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAIL: $*" >&2; exit 1; }

"$KEEL" simulate --customers 600 --days 200 --seed 11 --quiet --out market.ndjson
python3 - >hard.ndjson <<'PY'
import json
def out(**e): print(json.dumps(e))
t = "2024-03-01T10:00:00.%03dZ"
out(type="track", event="Odd", userId="u1", messageId="a1", timestamp=t % 1,
    properties={"a": 1, "a.b": 2, "c": {"d": {"e": {"f": {"g": 1}}}}, ".": "dot", "x..y": True,
                "list": [{"k": 1, "n.m": "x"}, {"k": None, "o": {"p": [1]}}], "plain": [1, "zwei"],
                "quote": "say \"a,b\"\nnext", "big": 12345678901234567890, "half": 0.1})
for i in range(3): # equal but for their message ids
    out(type="track", event="Twin", userId="u1", messageId="twin%d" % i, timestamp=t % 2)
out(type="page", userId="u2", anonymousId="anon2", messageId="b1", timestamp=t % 3,
    name="Home", properties={"url": "https://x.example/?a=1", "name": "Home"})
out(type="screen", anonymousId="anon2", messageId="b2", timestamp=t % 0, properties={"name": "Start"})
out(type="identify", userId="u3", messageId="c1", timestamp=t % 4,
    traits={"email": "a@x.example", "address": {"city": "Turku"}},
    context={"traits": {"address": {"city": "Turku"}, "email": "a@x.example"}, "page": {"url": "u"}})
out(type="group", userId="u3", groupId="g1", messageId="c2", timestamp=t % 5, traits={"plan": "x"})
out(type="alias", userId="u4", previousId="anon4", messageId="d1", timestamp=t % 6)
out(type="track", event="Before", anonymousId="anon4", messageId="d2", timestamp=t % 7, channel="till")
for i in range(2): # two devices of one user at one moment
    out(type="track", event="Both", userId="u5", anonymousId="dev%d" % i, messageId="e%d" % i,
        timestamp=t % 8)
    out(type="track", event="Seen", anonymousId="dev%d" % i, messageId="f%d" % i, timestamp=t % 9)
PY
"$KEEL" init one >/dev/null
"$KEEL" import --data one --quiet --segment market.ndjson >/dev/null
"$KEEL" import --data one --quiet --segment hard.ndjson >/dev/null # a second part of March
"$KEEL" export --data one --quiet all.ndjson
"$KEEL" init two >/dev/null
"$KEEL" import --data two --quiet --segment all.ndjson >imported
grep -q ' 0 known already' imported || fail "ids of different events are equal: $(cat imported)"
grep -q 'refused' imported && fail "refused: $(cat imported)"

for q in 'count customers' 'count customers by trait country' 'list customers where identified' \
    'count customers where did "Odd" where list.k = 1' \
    'list customers where did "Seen"' \
    'funnel "Product Viewed", "Product Added", "Order Completed" within 7 days' \
    'trend of events of "Order Completed", sum("Order Completed".revenue) by month' \
    'retention from first "Order Completed" to "Order Completed" by month' \
    'trend of customers of any event by month'; do
    "$KEEL" query --data one --at 2025-01-01 --format csv "$q" >answer1 2>/dev/null || fail "$q"
    "$KEEL" query --data two --at 2025-01-01 --format csv "$q" >answer2 2>/dev/null
    case $q in list*) sort -o answer1 answer1; sort -o answer2 answer2 ;; esac # by first appearance
    cmp answer1 answer2 || fail "another answer to: $q"
done

"$KEEL" compact --data two >/dev/null
"$KEEL" export --data two --quiet again.ndjson
diff <(sort all.ndjson) <(sort again.ndjson) >/dev/null || fail "the second export has other lines"
"$KEEL" import --data two --quiet --segment all.ndjson >imported # twice adds nothing
grep -q ' 0 new' imported || fail "importing an export twice adds: $(cat imported)"

"$KEEL" export --data one --quiet --event Odd odd.ndjson
[ "$(wc -l <odd.ndjson)" = 1 ] || fail "--event"
python3 - <<'PY'
import json
e = json.loads(open("odd.ndjson").read())
want = {"a": 1, "a.b": 2, "c": {"d": {"e": {"f": {"g": 1}}}}, "": {"": "dot"}, "x": {"": {"y": True}},
        "list": [{"k": 1, "n.m": "x"}, {"o": {"p": [1]}}], "plain": [1, "zwei"],
        "quote": "say \"a,b\"\nnext", "big": "12345678901234567890", "half": 0.1}
got = e["properties"]
assert got == want, (got, want)
assert e["userId"] == "u1" and e["event"] == "Odd" and e["timestamp"] == "2024-03-01T10:00:00.001Z", e
PY
"$KEEL" export --data one --quiet --since 2024-03-01 --before 2024-03-02 day.ndjson
python3 - <<'PY'
import json
def day(name): return sorted(l for l in open(name) if json.loads(l)["timestamp"].startswith("2024-03-01"))
assert day("all.ndjson") == sorted(open("day.ndjson")) and len(day("day.ndjson")) > 10
PY
"$KEEL" export --data one --quiet --customers 'did "Seen"' seen.ndjson
grep -c . seen.ndjson | grep -qx 4 || fail "--customers: $(cat seen.ndjson)"
"$KEEL" export --data one --quiet --event 'No such' none.ndjson 2>error && fail "an unknown event"
grep -q 'no event "No such"' error || fail "$(cat error)"

"$KEEL" export --data one --quiet --format csv all.csv
python3 - <<'PY'
import csv, json
csv.field_size_limit(1 << 24)
rows = list(csv.DictReader(open("all.csv", newline="")))
lines = [json.loads(l) for l in open("all.ndjson")]
assert len(rows) == len(lines), (len(rows), len(lines))
for row, e in zip(rows, lines):
    assert row["timestamp"] == e["timestamp"] and row["message_id"] == e["messageId"]
    assert row["user_id"] == e.get("userId", "") and row["anonymous_id"] == e.get("anonymousId", "")
    assert row["type"] == e["type"], row
    for key, value in e.get("properties", {}).items():
        cell = row.get("properties." + key)
        if isinstance(value, bool): assert cell == ("true" if value else "false"), (key, cell)
        elif isinstance(value, (int, float)): assert float(cell) == value, (key, cell)
        elif isinstance(value, str): assert cell == value, (key, cell, value)
        elif isinstance(value, list): assert json.loads(cell) == value, (key, cell)
PY
echo "$(wc -l <all.ndjson) events exported and imported again"
