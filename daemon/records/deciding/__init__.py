"""What becomes of an operation: pure, over values, with the clock among them."""
