"""A server is killed under load, CYCLES times, on one data directory.

The clients keep a ledger of their own: what was sent, and what was answered 200. What a life left
unanswered is sent again in the next one with the same message ids, as SDKs do. Whenever the books
are compared: each event that was answered is in the store, or in the quarantine if it is no event,
exactly once; nothing is there twice; nothing is there that nobody sent.
"""
import json
import os
import random
import sqlite3
import sys
import threading
import time

from serve import KEY, Server, read_reply

CYCLES = int(os.environ.get("KEEL_CYCLES", "30"))
SEED = int(os.environ.get("KEEL_SEED", "1"))
CLIENTS = 4
COMPARE_EVERY = 10


class Client:
    """One connection after the other; each request is answered before the next is sent."""

    def __init__(self, number):
        self.number = number
        self.next = 0
        self.unanswered = []  # requests: lists of ids
        self.sent, self.answered = set(), set()
        self.refused = []

    def body(self, ids):
        # every seventh is no event: it belongs into the quarantine
        events = [{"type": "none" if n % 7 == 3 else "track", "event": "E", "userId": f"u{n % 50}",
                   "messageId": f"{c}-{n}", "properties": {"id": f"{c}-{n}"}} for c, n in ids]
        return json.dumps({"batch": events, "writeKey": KEY}).encode()

    def pick(self, rng):
        if self.unanswered:
            return self.unanswered.pop(0)
        count = rng.choice((1, 1, 3, 20))
        ids = [(self.number, n) for n in range(self.next, self.next + count)]
        self.next += count
        return ids

    def live(self, server, rng):
        ids = None
        try:
            with server.connect() as conn:
                while True:
                    ids = self.pick(rng)
                    self.sent.update(ids)
                    body = self.body(ids)
                    conn.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    status, _, reply = read_reply(conn)
                    if status != 200:
                        self.refused.append((status, reply))
                    else:
                        self.answered.update(ids)
                    ids = None
        except OSError:
            if ids:
                self.unanswered.append(ids)


def quarantined(server):
    db = sqlite3.connect(server.dir + "/desk.db")
    rows = [json.loads(text)["properties"]["id"] for (text,) in db.execute("SELECT json FROM quarantine")]
    db.close()
    return rows


def compare(server, clients, cycle):
    stored = [e["properties"]["id"] for e in server.events()]
    held = quarantined(server)
    name = lambda ids: {f"{c}-{n}" for c, n in ids}
    sent = name(set().union(*(c.sent for c in clients)))
    answered = name(set().union(*(c.answered for c in clients)))
    wrong = []
    if len(set(stored)) != len(stored) or len(set(held)) != len(held):
        wrong.append("something is there twice")
    lost = answered - set(stored) - set(held)
    if lost:
        wrong.append(f"answered and lost: {sorted(lost)[:10]}")
    strange = (set(stored) | set(held)) - sent
    if strange:
        wrong.append(f"never sent: {sorted(strange)[:10]}")
    if any(int(i.split("-")[1]) % 7 == 3 for i in stored) or any(int(i.split("-")[1]) % 7 != 3 for i in held):
        wrong.append("stored what belongs into the quarantine, or the other way round")
    refused = [r for c in clients for r in c.refused]
    if refused:
        wrong.append(f"refused: {refused[:3]}")
    if wrong:
        sys.exit(f"cycle {cycle}, seed {SEED}: " + "; ".join(wrong))
    return len(answered), len(stored), len(held)


def main():
    rng = random.Random(SEED)
    clients = [Client(i) for i in range(CLIENTS)]
    server = Server()
    print(f"KEEL_CYCLES={CYCLES} KEEL_SEED={SEED}", flush=True)
    sums = (0, 0, 0)
    for cycle in range(CYCLES):
        server.start()
        threads = [threading.Thread(target=c.live, args=(server, random.Random(rng.random()))) for c in clients]
        for t in threads:
            t.start()
        time.sleep(rng.uniform(0, 0.15))
        server.kill()
        for t in threads:
            t.join()
        if cycle % COMPARE_EVERY == COMPARE_EVERY - 1 or cycle == CYCLES - 1:
            server.start()
            server.stop()
            sums = compare(server, clients, cycle)
    # In the end everything that was left unanswered is sent once more, and everything is there.
    server.start()
    for c in clients:
        while c.unanswered:
            ids = c.unanswered.pop()
            body = c.body(ids)
            status, _, reply = server.request("POST", "/v1/batch", body)
            if status != 200:
                sys.exit(f"sent again: {status} {reply}")
            c.answered.update(ids)
    server.stop()
    sums = compare(server, clients, CYCLES)
    unsent = set().union(*(c.sent - c.answered for c in clients))
    if unsent or sums[0] < CYCLES:
        sys.exit(f"unanswered {len(unsent)}; {sums[0]} answered events are too few for a test")
    print(f"{CYCLES} kills: {sums[0]} events answered, {sums[1]} stored, {sums[2]} in quarantine")
    server.__exit__()


main()
