"""Providers: sending a call and reading the answer."""
