// The most frequent runs of three events, each at most half an hour after the one before.
export default () => ({
  title: 'top 20 paths of 3 events',
  keel: 'paths of 3 events within 30 minutes limit 20',
  keelRows: (rows) => rows.map((r) => [r.event_1, r.event_2, r.event_3, r.count]),
  ordered: true,
  clickhouse: {
    arrays: `SELECT e1, e2, e3, count() AS c FROM (SELECT
        arraySort((e, t) -> t, groupArray(toString(event)), groupArray(toUInt32(ts))) AS se,
        arraySort(groupArray(toUInt32(ts))) AS st FROM EV GROUP BY customer_id HAVING length(st) >= 3)
      ARRAY JOIN arraySlice(se, 1, length(se) - 2) AS e1, arraySlice(se, 2, length(se) - 2) AS e2,
        arraySlice(se, 3) AS e3, arraySlice(st, 1, length(st) - 2) AS t1,
        arraySlice(st, 2, length(st) - 2) AS t2, arraySlice(st, 3) AS t3
      WHERE t2 - t1 <= 1800 AND t3 - t2 <= 1800 GROUP BY e1, e2, e3 ORDER BY c DESC, e1, e2, e3 LIMIT 20`,
    windows: `SELECT e1, e2, e3, count() AS c FROM (SELECT event AS e1, leadInFrame(event, 1) OVER w AS e2,
        leadInFrame(event, 2) OVER w AS e3, toUInt32(ts) AS t1, leadInFrame(toUInt32(ts), 1) OVER w AS t2,
        leadInFrame(toUInt32(ts), 2) OVER w AS t3 FROM EV WINDOW w AS (PARTITION BY customer_id ORDER BY ts
        ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING))
      WHERE t3 > 0 AND t2 - t1 <= 1800 AND t3 - t2 <= 1800 GROUP BY e1, e2, e3
      ORDER BY c DESC, e1, e2, e3 LIMIT 20`,
  },
  duckdb: {
    windows: `SELECT e1::VARCHAR, e2::VARCHAR, e3::VARCHAR, c FROM (SELECT e1, e2, e3, count(*) AS c
      FROM (SELECT event AS e1, lead(event, 1) OVER w AS e2, lead(event, 2) OVER w AS e3, ts AS t1,
        lead(ts, 1) OVER w AS t2, lead(ts, 2) OVER w AS t3 FROM EV
        WINDOW w AS (PARTITION BY customer_id ORDER BY ts))
      WHERE e3 IS NOT NULL AND t2 - t1 <= INTERVAL 1800 SECOND AND t3 - t2 <= INTERVAL 1800 SECOND
      GROUP BY e1, e2, e3) ORDER BY c DESC, e1::VARCHAR, e2::VARCHAR, e3::VARCHAR LIMIT 20`,
  },
});
