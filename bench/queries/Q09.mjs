// Revenue and orders by the campaign of the last click within 30 days before the order.
import { cents } from '../suite/answers.mjs';

export default () => ({
  title: 'last-touch attribution, 30 days',
  keel: `attribute sum("Order Completed".revenue) to last "Email Link Clicked", "Ad Clicked"
    within 30 days by context.campaign.name`,
  keelRows: (rows) => rows.map((r) =>
    [r['context.campaign.name'] ?? '', cents(r.amount), r.conversions]),
  clickhouse: {
    asof: `SELECT if(t.campaign != '' AND p.ts - t.ts <= 2592000, t.campaign, '') AS camp, sum(p.revenue),
        count() FROM (SELECT customer_id, ts, revenue FROM EV WHERE event = 'Order Completed') AS p
      ASOF LEFT JOIN (SELECT customer_id, ts, campaign FROM EV
        WHERE event IN ('Email Link Clicked', 'Ad Clicked')) AS t
      ON p.customer_id = t.customer_id AND p.ts >= t.ts GROUP BY camp`,
    arrays: `SELECT camp, sum(rev), count() FROM (SELECT rev, arrayCount(y -> y <= p, tt) AS i,
        if(i = 0, '', if(p - tt[i] <= 2592000, tc[i], '')) AS camp FROM (SELECT
          arraySort((c, t) -> t, groupArrayIf(toString(campaign), event != 'Order Completed'),
            groupArrayIf(toUInt32(ts), event != 'Order Completed')) AS tc,
          arraySort(groupArrayIf(toUInt32(ts), event != 'Order Completed')) AS tt,
          groupArrayIf(toUInt32(ts), event = 'Order Completed') AS pt,
          groupArrayIf(revenue, event = 'Order Completed') AS pr FROM EV
          WHERE event IN ('Order Completed', 'Email Link Clicked', 'Ad Clicked')
          GROUP BY customer_id HAVING length(pt) > 0)
        ARRAY JOIN pt AS p, pr AS rev) GROUP BY camp`,
  },
  duckdb: {
    asof: `SELECT CASE WHEN p.ts - t.ts <= INTERVAL 30 DAY THEN t.campaign ELSE '' END AS camp,
        sum(p.revenue), count(*) FROM (SELECT customer_id, ts, revenue FROM EV
        WHERE event = 'Order Completed') p
      ASOF LEFT JOIN (SELECT customer_id, ts, campaign FROM EV
        WHERE event IN ('Email Link Clicked', 'Ad Clicked')) t
      ON p.customer_id = t.customer_id AND p.ts >= t.ts GROUP BY camp`,
    windows: `SELECT camp, sum(revenue), count(*) FROM (SELECT event, revenue,
        CASE WHEN ts - max(CASE WHEN event != 'Order Completed' THEN ts END) OVER w <= INTERVAL 30 DAY
          THEN last_value(CASE WHEN event != 'Order Completed' THEN campaign::VARCHAR END IGNORE NULLS)
            OVER w ELSE '' END AS camp
        FROM EV WHERE event IN ('Order Completed', 'Email Link Clicked', 'Ad Clicked')
        WINDOW w AS (PARTITION BY customer_id ORDER BY ts ROWS UNBOUNDED PRECEDING))
      WHERE event = 'Order Completed' GROUP BY camp`,
  },
});
