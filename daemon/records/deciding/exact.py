"""Operations of authors who look at the record while they write: they apply as they are meant, or not at all."""

from __future__ import annotations

from dataclasses import replace

from daemon.records.deciding.answering import document, rejected
from daemon.records.deciding.rights import reaches
from daemon.records.state import Author, Decided, Stored
from schemas.records.operation import Operation


def at_version(stored: Stored | None, op: Operation, author: Author) -> Operation | Decided:
    """*op*, seen as made at the version that *stored* has; or why it does not apply: it has another version than those
    of `only_at`, or is not there. Who has never seen a record is told the same as of one that there is not."""
    assert op.only_at is not None
    if op.operation == "CREATE":
        if stored is None or stored.erased or not reaches(author, stored):
            return op
        return replace(op, base_version=stored.version) if stored.deleted else _refused(op, stored)
    if stored is None or not (author.formerly or reaches(author, stored)):
        return _gone(op)
    if not reaches(author, stored):
        return replace(op, base_version=stored.version)
    if stored.deleted:
        return _gone(op)
    if op.only_at and stored.version not in op.only_at:
        return _refused(op, stored)
    return replace(op, base_version=stored.version)


def _gone(op: Operation) -> Decided:
    return rejected(op, "unknown-record", "there is no such record")


def _refused(op: Operation, stored: Stored) -> Decided:
    is_there = op.operation == "CREATE"
    detail = "the record is there already" if is_there else "the record has changed since: look at it, and write again"
    refusal = rejected(op, "version", detail)
    return replace(refusal, answer=replace(refusal.answer, version=stored.version, record=document(stored)))
