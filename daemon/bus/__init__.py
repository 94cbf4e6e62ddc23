"""The bus: leases say which partitions are ours, a reader fills lanes, slots run handlers, a committer writes
results."""
