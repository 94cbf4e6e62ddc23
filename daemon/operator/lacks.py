"""What is not known of a Redis whose user may not run a command, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNTOLD: Final[Mapping[str, str]] = {
    "INFO": "its version, role, replicas, memory and disk errors are not known",
    "CONFIG GET": "whether it waits for its disk (appendfsync) is not known",
    "WAITAOF": "no append can be waited for, so appendfsync must be always",
}
"""What cannot be told without a command."""

ALLOW: Final[Mapping[str, str]] = {
    "INFO": "`ACL SETUSER NAME +info`, or look at these yourself",
    "CONFIG GET": "`ACL SETUSER NAME +config|get`, or see yourself that it is always or everysec",
    "WAITAOF": "`ACL SETUSER NAME +waitaof`, from Redis 7.2 on",
}
