"""`python -m tests.support.dying_verb ARGS…`: the command `ferryman`, which kills itself at DIE_AT.

DIE_AT: `before:` or `after:`, and a function of DYING. A SIGSTOP instead, with DIE_BY=SIGSTOP.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

from adapters.postgres.operator import repartition
from adapters.redis import stream_states
from daemon.cli.main import main

DYING: Final[dict[str, Any]] = {
    "change": repartition,
    "forget": stream_states,
    "old_streams_removed": repartition,
}


def deadly(call: Callable[..., Awaitable[Any]], when: str, number: signal.Signals) -> Callable[..., Awaitable[Any]]:
    """*call*, with death before or after it."""

    async def instead(*args: Any, **options: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), number)
        answer = await call(*args, **options)
        if when == "after":
            os.kill(os.getpid(), number)
        return answer

    return instead


if __name__ == "__main__":
    when, _, name = os.environ["DIE_AT"].partition(":")
    number = signal.Signals[os.environ.get("DIE_BY", "SIGKILL")]
    setattr(DYING[name], name, deadly(getattr(DYING[name], name), when, number))
    main()
