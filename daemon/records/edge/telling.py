"""What stopped an exchange with the upstream, as a sentence that says what to do. Nothing of the other side's is
repeated."""

from __future__ import annotations

from typing import Final

_SAID: Final = {
    "no-connection": "the upstream cannot be reached: is SYNC_UPSTREAM_URL right, and the network there?",
    "no-answer": "the upstream did not answer in time",
    "connection-broke": "the connection to the upstream broke",
    "no-url": "SYNC_UPSTREAM_URL is no address",
    "not-json": "what answers at SYNC_UPSTREAM_URL is no Ferryman: a login page of the network, or another program",
    "other-json": "what answers at SYNC_UPSTREAM_URL does not speak this protocol: is it a Ferryman with records?",
    "too-long": "an answer of the upstream is longer than we read",
    "http-401": "the upstream refuses SYNC_UPSTREAM_TOKEN: make one there, `ferryman tokens create --edge NAME`",
    "http-403": "SYNC_UPSTREAM_TOKEN is not an edge's: make one there, `ferryman tokens create --edge NAME`",
    "replica-of-another": "this edge pushed by another name before: make a token there for that one",
    "replica-forked": "another copy of this edge's database exchanges with the upstream too: stop one of them",
    "loop": "the upstream is this server itself, or has it as its own upstream: correct SYNC_UPSTREAM_URL; or one"
    " database is a copy of the other's: `ferryman records new-epoch --copied` at the copy gives it a name of its own",
    "http-404": "what answers at SYNC_UPSTREAM_URL has no records: is it a Ferryman, and new enough?",
    "http-429": "the upstream asks us to wait",
    "here-DiskFullError": "the database of this edge has no room: make some, then it goes on by itself",
    "http-503": "the upstream is busy, or starting",
}


def sentence(code: str) -> str:
    """*code*: of an `UpstreamError`."""
    if code in _SAID:
        return _SAID[code]
    if code.startswith("here-"):
        return f"this edge failed at it itself ({code}): its log says why, at records.pump_failed"
    if code.startswith("expired-"):
        return "the upstream asks again and again to begin anew: its clock of changes does not stand still"
    if code.startswith("http-3"):
        return "SYNC_UPSTREAM_URL leads elsewhere: a login page of the network, or the server has moved"
    if code.startswith("http-5"):
        return f"the upstream failed ({code})"
    return f"the exchange with the upstream was stopped ({code})"
