"""The database: engine, tables, transactions, migrations."""
