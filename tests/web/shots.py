"""See test_shots.sh."""
import sys

from marketplace import Marketplace
from serve import keel


def main():
    market = Marketplace()
    try:
        keel("segment", "add", "Buyers", 'did "Order Completed" during last 30 days', "--data", market.dir)
        market.start()
        return market.walk("shots.mjs", link=market.account("admin"))
    finally:
        market.__exit__()


if __name__ == "__main__":
    sys.exit(main())
