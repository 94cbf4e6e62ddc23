"""The stores: where they are, whether they answer, and servers of our own where none are named."""
