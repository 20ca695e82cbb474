"""Budgets, periods, holds and the committer that moves money."""
