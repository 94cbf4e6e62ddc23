"""The systems of Ferryman by what they offer. A new webhook source is a file in its system's folder and a line here."""

from adapters.vizi import source as orders

SOURCES = (orders.SOURCE,)
