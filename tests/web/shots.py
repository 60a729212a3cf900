"""See test_shots.sh."""
import sys

from marketplace import Marketplace, everywhere
from serve import keel

NAMES = [
    ("Quartalsabschlussbesprechung" * 8)[:200],  # nowhere to break
    ("Customers who looked at garden furniture in spring, came back and bought none " * 3)[:200].strip(),
    ("לקוחות שחזרו " * 15)[:108].strip(),
]



def main():
    market = Marketplace()
    try:
        keel("segment", "add", "Buyers", 'did "Order Completed" during last 30 days', "--data", market.dir)
        market.start()
        shot = market.walk("shots.mjs", link=market.account("admin"))
        events = [event for n, name in enumerate(NAMES) for event in everywhere(market.user, name, n)]
        link = keel("user", "login-link", "admin", "--data", market.dir, "--listen", f"127.0.0.1:{market.port}")
        return shot or market.walk("long.mjs", link=link.strip().split("#")[1], names=NAMES, events=events)
    finally:
        market.__exit__()


if __name__ == "__main__":
    sys.exit(main())
