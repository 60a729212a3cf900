// Behavioural segment: bought twice and for 200 lately, looked at two categories, but not this week.
export default ({ end, DAY }) => {
  const from = end - 90 * DAY;
  return {
    title: 'behavioural segment, four conditions',
    keel: `count customers where did "Order Completed" at least 2 times during last 90 days
      and sum("Order Completed".revenue) >= 200 during last 90 days
      and did "Product Viewed" where category in ("Shoes", "Kitchen") during last 30 days
      and did not "Order Completed" during last 7 days`,
    keelRows: (rows) => rows.map((r) => [r.customers]),
    clickhouse: {
      having: `SELECT count() FROM (SELECT customer_id FROM EV WHERE ts >= toDateTime(${from}, 'UTC')
        GROUP BY customer_id HAVING countIf(event = 'Order Completed') >= 2
        AND sumIf(revenue, event = 'Order Completed') >= 20000
        AND countIf(event = 'Product Viewed' AND category IN ('Shoes', 'Kitchen')
          AND ts >= toDateTime(${end - 30 * DAY}, 'UTC')) > 0
        AND countIf(event = 'Order Completed' AND ts >= toDateTime(${end - 7 * DAY}, 'UTC')) = 0)`,
      narrow: `SELECT count() FROM (SELECT customer_id FROM EV WHERE ts >= toDateTime(${from}, 'UTC')
        AND event = 'Order Completed' AND customer_id IN (SELECT customer_id FROM EV
          WHERE event = 'Product Viewed' AND category IN ('Shoes', 'Kitchen')
          AND ts >= toDateTime(${end - 30 * DAY}, 'UTC'))
        GROUP BY customer_id HAVING count() >= 2 AND sum(revenue) >= 20000
        AND max(ts) < toDateTime(${end - 7 * DAY}, 'UTC'))`,
    },
    duckdb: {
      having: `SELECT count(*) FROM (SELECT customer_id FROM EV WHERE ts >= make_timestamp(${from}000000)
        GROUP BY customer_id HAVING count(*) FILTER (event = 'Order Completed') >= 2
        AND sum(revenue) FILTER (event = 'Order Completed') >= 20000
        AND count(*) FILTER (event = 'Product Viewed' AND category IN ('Shoes', 'Kitchen')
          AND ts >= make_timestamp(${end - 30 * DAY}000000)) > 0
        AND count(*) FILTER (event = 'Order Completed'
          AND ts >= make_timestamp(${end - 7 * DAY}000000)) = 0)`,
      narrow: `SELECT count(*) FROM (SELECT customer_id FROM EV WHERE ts >= make_timestamp(${from}000000)
        AND event = 'Order Completed' AND customer_id IN (SELECT customer_id FROM EV
          WHERE event = 'Product Viewed' AND category IN ('Shoes', 'Kitchen')
          AND ts >= make_timestamp(${end - 30 * DAY}000000))
        GROUP BY customer_id HAVING count(*) >= 2 AND sum(revenue) >= 20000
        AND max(ts) < make_timestamp(${end - 7 * DAY}000000))`,
    },
  };
};
