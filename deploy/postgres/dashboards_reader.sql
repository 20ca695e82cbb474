-- What Grafana may read: the views that the dashboards ask, and nothing else; not the
-- keys, and not the ledger. Run by deploy/compose.yaml at every start, after the gateway has made
-- the views. By hand, as a superuser:
--   DASHBOARDS_PASSWORD=... psql -v ON_ERROR_STOP=1 -d jobgate -f dashboards_reader.sql
SELECT 'CREATE ROLE dashboards LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dashboards') \gexec

\getenv password DASHBOARDS_PASSWORD
ALTER ROLE dashboards PASSWORD :'password';
ALTER ROLE dashboards SET default_transaction_read_only = on;
ALTER ROLE dashboards SET statement_timeout = '30s';
GRANT SELECT ON spend_by_hour, tokens_by_hour, budget_status, budget_by_hour, raise_status, open_holds
TO dashboards;
