"""The demonstration: the whole of Ferryman on servers of its own and simulated systems, with a check of the result."""
