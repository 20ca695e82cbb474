"""What a token costs: dated prices, and the cost of a usage."""
