"""See test_roles.sh."""
import sys

from marketplace import Marketplace
from serve import keel

ROLES = ["marketing", "it", "executive", "privacy_officer", "partner"]
# Whatever would run it shows itself: by the title, by a dialog, by an element that was made.
SCRIPT = "<img src=x onerror=\"document.title='owned';alert(1)\"><script>document.title='owned'</script>"


def identified(user):
    """Every text of an event is a script."""
    return [
        {"type": "identify", "userId": user, "messageId": "s-1", "traits": {"name": SCRIPT, "plan": SCRIPT, SCRIPT[:60]: SCRIPT}},
        {"type": "track", "userId": user, "messageId": "s-2", "event": SCRIPT,
         "properties": {"name": SCRIPT, SCRIPT[:60]: SCRIPT, "products": [{"name": SCRIPT, SCRIPT[:50]: SCRIPT}]},
         "context": {"channel": SCRIPT, "page": {"path": SCRIPT, "title": SCRIPT}}},
        {"type": "page", "userId": user, "messageId": "s-3", "name": SCRIPT, "properties": {"title": SCRIPT, "url": "javascript:alert(1)"}},
        {"type": "track", "userId": SCRIPT, "anonymousId": SCRIPT, "messageId": "s-4", "event": "Product Viewed", "properties": {"category": SCRIPT}},
        {"type": "track", "userId": SCRIPT, "messageId": "s-5", "event": "Order Completed", "properties": {"order_id": SCRIPT, "revenue": SCRIPT}},
    ]


def main():
    market = Marketplace()
    try:
        keel("segment", "add", "Buyers", 'did "Order Completed" during last 30 days', "--data", market.dir)
        market.start()
        walked = market.walk("roles.mjs", links={role: market.account(role) for role in ROLES})
        return walked or market.walk("script.mjs", link=market.account("admin"), script=SCRIPT, events=identified(market.user))
    finally:
        market.__exit__()


if __name__ == "__main__":
    sys.exit(main())
