"""Queries of the tables that the bus owns."""
