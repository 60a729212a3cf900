// Carts of the last seven days that no order followed, by country.
export default ({ end, DAY }) => {
  const from = end - 7 * DAY;
  return {
    title: 'abandoned carts of 7 days, by country',
    keel: `count customers where did "Product Added" not followed by "Order Completed" during last 7 days
      by first("Product Added".context.location.country) during last 7 days`,
    keelRows: (rows) => rows.map((r) => [Object.values(r)[0], r.customers]),
    clickhouse: {
      group: `SELECT country, count() FROM (SELECT any(country) AS country,
        maxIf(toUInt32(ts), event = 'Product Added') AS a,
        maxIf(toUInt32(ts), event = 'Order Completed') AS p FROM EV
        WHERE ts >= toDateTime(${from}, 'UTC') AND event IN ('Product Added', 'Order Completed')
        GROUP BY customer_id HAVING a > p) GROUP BY country`,
      'country last': `SELECT c, count() FROM (SELECT argMaxIf(country, ts, event = 'Product Added') AS c,
        maxIf(toUInt32(ts), event = 'Product Added') AS a,
        maxIf(toUInt32(ts), event = 'Order Completed') AS p FROM EV
        WHERE ts >= toDateTime(${from}, 'UTC') AND event IN ('Product Added', 'Order Completed')
        GROUP BY customer_id HAVING a > p) GROUP BY c`,
    },
    duckdb: {
      group: `SELECT c::VARCHAR, n FROM (SELECT c, count(*) AS n FROM (SELECT any_value(country) AS c,
        max(ts) FILTER (event = 'Product Added') AS a, max(ts) FILTER (event = 'Order Completed') AS p
        FROM EV WHERE ts >= make_timestamp(${from}000000)
        AND event IN ('Product Added', 'Order Completed')
        GROUP BY customer_id HAVING a IS NOT NULL AND (p IS NULL OR a > p)) GROUP BY c)`,
    },
  };
};
