"""See test_roles.sh."""
import sys

from marketplace import Marketplace, everywhere
from serve import keel

ROLES = ["marketing", "it", "executive", "privacy_officer", "partner"]
# Whatever would run it shows itself: by the title, by a dialog, by an element that was made.
SCRIPT = "<img src=x onerror=\"document.title='owned';alert(1)\"><script>document.title='owned'</script>"


def main():
    market = Marketplace()
    try:
        keel("segment", "add", "Buyers", 'did "Order Completed" during last 30 days', "--data", market.dir)
        market.start()
        walked = market.walk("roles.mjs", links={role: market.account(role) for role in ROLES})
        return walked or market.walk("script.mjs", link=market.account("admin"), names=[SCRIPT], events=everywhere(market.user, SCRIPT))
    finally:
        market.__exit__()


if __name__ == "__main__":
    sys.exit(main())
