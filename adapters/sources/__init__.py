"""The webhook sources of Ferryman. A new one is a file here and a line in SOURCES."""

from adapters.sources import orders

SOURCES = (orders.SOURCE,)
