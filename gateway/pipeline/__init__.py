"""One request, from the door to the books."""
