"""Object stores for tests: Google's emulator in this process, and files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gcp_storage_emulator.server import create_server


@contextmanager
def emulator(port: int = 0) -> Iterator[str]:
    """The address of an emulator of Google Cloud Storage, in memory, on a thread of its own. *port*: 0 for a free
    one."""
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    finally:
        server.stop()
