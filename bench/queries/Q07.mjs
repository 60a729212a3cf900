// From the first time a product was put into the cart to the next order.
export default () => ({
  title: 'time from first cart to next order, percentiles',
  keel: 'time from first "Product Added" to "Order Completed"',
  keelRows: (rows) => rows.map((r) => [r.customers, r.median_seconds, r.p90_seconds]),
  // quantileExact takes rank floor(n * p) + 1, Keel and DuckDB rank ceil(n * p): neighbours.
  tolerance: { 1: 0.002, 2: 0.002 },
  clickhouse: {
    arrays: `SELECT n, q[1], q[2] FROM (SELECT count() AS n, quantilesExact(0.5, 0.9)(dt) AS q FROM (SELECT
      minIf(toUInt32(ts), event = 'Product Added') AS a,
      arrayMin(arrayFilter(x -> x >= a, groupArrayIf(toUInt32(ts), event = 'Order Completed'))) - a AS dt,
      countIf(event = 'Order Completed') AS np, countIf(event = 'Product Added') AS nc,
      maxIf(toUInt32(ts), event = 'Order Completed') AS lp
      FROM EV WHERE event IN ('Product Added', 'Order Completed') GROUP BY customer_id
      HAVING nc > 0 AND np > 0 AND lp >= a))`,
    asof: `SELECT n, q[1], q[2] FROM (SELECT count() AS n, quantilesExact(0.5, 0.9)(dt) AS q FROM (SELECT
      toUInt32(p.ts) - toUInt32(a.a) AS dt FROM (SELECT customer_id, min(ts) AS a FROM EV
        WHERE event = 'Product Added' GROUP BY customer_id) AS a
      ASOF JOIN (SELECT customer_id, ts FROM EV WHERE event = 'Order Completed') AS p
      ON a.customer_id = p.customer_id AND a.a <= p.ts))`,
  },
  duckdb: {
    join: `WITH a AS (SELECT customer_id, min(ts) AS a FROM EV WHERE event = 'Product Added' GROUP BY 1),
      p AS (SELECT a.customer_id, epoch(min(e.ts) - any_value(a.a))::BIGINT AS dt FROM a JOIN EV e
        ON e.customer_id = a.customer_id AND e.event = 'Order Completed' AND e.ts >= a.a GROUP BY 1)
      SELECT count(*), quantile_disc(dt, 0.5), quantile_disc(dt, 0.9) FROM p`,
    asof: `SELECT count(*), quantile_disc(dt, 0.5), quantile_disc(dt, 0.9) FROM (
      SELECT epoch(p.ts - a.a)::BIGINT AS dt FROM (SELECT customer_id, min(ts) AS a FROM EV
        WHERE event = 'Product Added' GROUP BY 1) a
      ASOF JOIN (SELECT customer_id, ts FROM EV WHERE event = 'Order Completed') p
      ON a.customer_id = p.customer_id AND a.a <= p.ts)`,
  },
});
