"""See test_pages.sh. Prepares the server and what the pages must show, then lets pages.mjs walk."""
import json
import sys

from marketplace import Marketplace, rows
from serve import keel

FUNNEL = 'funnel "Product Viewed", "Product Added", "Order Completed" within 7 days'
CONDITION = 'sum("Order Completed".revenue) > 50 during last 30 days and identified'
SCRIPT = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def event(named, user, number, **properties):
    return {"type": "track", "event": named, "userId": user, "messageId": f"live-{number}", "properties": properties}


def main():
    market = Marketplace()
    try:
        profile = json.loads(keel("profile", "--data", market.dir, "--format", "json", f"user_id={market.user}"))
        device = next(i["id"] for i in profile["identifiers"] if i["type"] == "anonymous_id")
        funnel = [row[2] for row in rows(market.dir, FUNNEL)]
        size = rows(market.dir, "count customers where " + CONDITION)[0][0]
        market.start()
        live = [event("Product Viewed", market.user, 1, name=SCRIPT, price=5),
                event("Order Completed", market.user, 2, order_id="o-live"),
                event(SCRIPT, market.user, 3)]
        return market.walk("pages.mjs", setup=market.setup_link(), device=device, funnelQuery=FUNNEL, funnel=funnel,
                           condition=CONDITION, conditionSize=size, live=live)
    finally:
        market.__exit__()


if __name__ == "__main__":
    sys.exit(main())
