"""The pages that finance and platform people look at."""
