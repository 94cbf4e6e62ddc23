"""The workers of Ferryman. A new one is a file here and a line in WORKERS; its name is its consumer group."""

from daemon.workers import contact_sync, journal

WORKERS = (journal.WORKER, contact_sync.WORKER)
