"""What the books tell about tomorrow: reads them, never writes them."""
