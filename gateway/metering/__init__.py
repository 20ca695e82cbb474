"""Tokens: what a usage is, how it is counted, and how it is read out of replies."""
