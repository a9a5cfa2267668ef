-- A provider's questions over the reports of many customers, for DuckDB.
--
-- Each report is one line of reports.jsonl, as this appends it:
--
--   iax2-natcheck check iax.example.net --format jsonl >> reports.jsonl
--
-- and this answers all questions below:
--
--   duckdb < examples/fleet.sql
--
-- A customer is told by the account of the report, or where it has none by the host that made it.

CREATE OR REPLACE VIEW reports AS
WITH lines AS (
    SELECT *
    FROM read_json(
        'reports.jsonl',
        format = 'newline_delimited',
        columns = {
            schema_version: 'INTEGER',
            finished_at: 'TIMESTAMP',
            host: 'JSON',
            provider: 'JSON',
            verdict: 'VARCHAR',
            summary: 'VARCHAR',
            findings: 'JSON',
            measurements: 'JSON'
        }
    )
    WHERE schema_version = 1
)
SELECT
    coalesce(provider ->> '$.user', host ->> '$.local_address', 'not known') AS customer,
    provider ->> '$.name' AS provider,
    finished_at,
    verdict,
    summary,
    findings,
    (measurements ->> '$.reachable.fraction')::DOUBLE AS open_share,
    (measurements ->> '$.reachable.cycle_s')::DOUBLE AS cycle_s,
    (measurements ->> '$.lifetime.exchange.alive_s')::DOUBLE AS alive_s,
    (measurements ->> '$.lifetime.exchange.dead_s')::DOUBLE AS dead_s,
    measurements ->> '$.mapping.behaviour' AS mapping,
    json_array_length(measurements -> '$.hops.nats') AS nats,
    coalesce(
        (measurements ->> '$.device.vendor') || ' ' || (measurements ->> '$.device.product'),
        measurements ->> '$.port_mapping.device',
        'not known'
    ) AS device
FROM lines;

-- The last report of each customer.
CREATE OR REPLACE VIEW latest AS
SELECT * FROM reports
QUALIFY row_number() OVER (PARTITION BY customer ORDER BY finished_at DESC) = 1;

-- verdicts: how the customers are.
SELECT verdict, count(*) AS customers
FROM latest
GROUP BY verdict
ORDER BY customers DESC, verdict;

-- findings: what is wrong, and with how many.
SELECT finding ->> '$.id' AS id, finding ->> '$.severity' AS severity, count(*) AS customers
FROM (SELECT unnest(from_json(findings, '["JSON"]')) AS finding FROM latest)
GROUP BY id, severity
ORDER BY customers DESC, id, severity;

-- devices: which forget before the PBX registers again, and how early.
SELECT
    device,
    count(*) AS customers,
    count(*) FILTER (WHERE dead_s < cycle_s) AS below_the_refresh,
    median(dead_s) AS forgets_after_s,
    round(100 * avg(open_share), 1) AS open_percent
FROM latest
WHERE dead_s IS NOT NULL OR alive_s IS NOT NULL
GROUP BY device
ORDER BY below_the_refresh DESC, device;

-- double: who is behind two NATs or more.
SELECT customer, nats, device
FROM latest
WHERE nats >= 2
ORDER BY customer;

-- worse: who got worse within a week, beside the last report that was a week old then.
SELECT
    now.customer,
    before.verdict AS was,
    now.verdict AS is_now,
    before.open_share AS open_was,
    now.open_share AS open_now,
    now.summary
FROM latest AS now
ASOF JOIN reports AS before
    ON now.customer = before.customer
    AND now.finished_at - INTERVAL 7 DAY >= before.finished_at
WHERE now.open_share < before.open_share - 0.005
    OR (before.verdict = 'ok' AND now.verdict IN ('warning', 'critical'))
    OR (before.verdict = 'warning' AND now.verdict = 'critical')
ORDER BY now.customer;

-- silent: who has not reported for two days before the last report of all.
SELECT customer, max(finished_at) AS last_report
FROM reports
GROUP BY customer
HAVING max(finished_at) < (SELECT max(finished_at) FROM reports) - INTERVAL 2 DAY
ORDER BY customer;
