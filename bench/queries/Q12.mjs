// What those who put certain categories into the cart lately look at most.
export default ({ end, DAY }) => {
  const top = (time, count) => `SELECT product, ${count} AS c FROM EV WHERE event = 'Product Viewed'
    AND ts >= ${time(end - 30 * DAY)} AND customer_id IN (SELECT customer_id FROM EV
      WHERE event = 'Product Added' AND category IN ('Shoes', 'Kitchen')
      AND ts >= ${time(end - 90 * DAY)})
    GROUP BY product ORDER BY c DESC, product LIMIT 20`;
  return {
    title: 'top products of a segment',
    keel: `top 20 "Product Viewed".product_id during last 30 days among customers where
      did "Product Added" where category in ("Shoes", "Kitchen") during last 90 days`,
    keelRows: (rows) => rows.map((r) => [r.product_id.slice(1), r.events]),
    ordered: true,
    clickhouse: { in: top((t) => `toDateTime(${t}, 'UTC')`, 'count()') },
    duckdb: { in: top((t) => `make_timestamp(${t}000000)`, 'count(*)') },
  };
};
