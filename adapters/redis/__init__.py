"""Redis: the client in its forms, the streams of the bus, leases, rate limits, and what a server tells of itself."""
