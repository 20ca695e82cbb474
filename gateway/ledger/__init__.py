"""The entries: writing, querying, exporting and auditing them."""
