"""The workers of Ferryman. A new one is a file here and a line in WORKERS; its name is its consumer group."""

from daemon.bus import journal
from daemon.contacts import sync as contact_sync

WORKERS = (journal.WORKER, contact_sync.WORKER)
