"""Alerts and digests: who is told before the surprise, once, and by which way."""
