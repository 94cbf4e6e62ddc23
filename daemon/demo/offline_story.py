"""What happens in the demonstration of offline work: the records, who changes which of them while the lines are cut,
and how each of them must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from daemon.demo.offline_stage import BRANCH, NOA, OMER, OTHER_BRANCH

Who = Literal["office", "desk", "phone"]
Verb = Literal["CREATE", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody does to a record. *said*: in words, as they would tell it."""

    by: Who
    verb: Verb = "UPDATE"
    data: Mapping[str, Any]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A conflict that must be kept. *at*: where it is decided. *decision*: `ours` is the value that stood there,
    `theirs` the one that came."""

    at: Literal["office", "branch"]
    strategy: str
    decision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A record's story. *before*: what it is while all lines are whole; None: it is not there. *changes*: in the order
    in which they happen, all of them while both lines are cut. *end*: the fields that it must have everywhere in the
    end; None: it must be gone. *outcome*: that in words. *gone_below*: the branch and the phone must not have it.
    *refused*: the reason why Noa's change is not taken."""

    id: str
    model: str = "Lead"
    rule: str
    before: Mapping[str, Any] | None
    changes: tuple[Change, ...]
    end: Mapping[str, Any] | None
    outcome: str
    met: Met | None = None
    gone_below: bool = False
    refused: str | None = None

    def key(self, run: int) -> str:
        """Its record's id, which is another one in each *run*."""
        return f"{self.id}-{run}"


def _office(said: str, verb: Verb = "UPDATE", **data: Any) -> Change:
    return Change(by="office", verb=verb, data=data, said=said)


def _desk(said: str, verb: Verb = "UPDATE", **data: Any) -> Change:
    return Change(by="desk", verb=verb, data=data, said=said)


def _phone(said: str, verb: Verb = "UPDATE", **data: Any) -> Change:
    return Change(by="phone", verb=verb, data=data, said=said)


_OF_NOA: Final = {"owner_id": NOA, "branch_id": BRANCH}

AGREED: Final = "7"
"""The discount that a person decides for, where two were given."""

SCENES: Final = (
    Scene(
        id="adler",
        rule="made offline",
        before=None,
        changes=(_phone("makes the lead", "CREATE", name="Adler", stage="new", **_OF_NOA),),
        end={"name": "Adler", "stage": "new"},
        outcome="is there",
    ),
    Scene(
        id="baum",
        rule="made meanwhile",
        before=None,
        changes=(_office("makes the lead", "CREATE", name="Baum", stage="new", **_OF_NOA),),
        end={"name": "Baum", "stage": "new"},
        outcome="is there",
    ),
    Scene(
        id="cohen",
        rule="newest",
        before={"name": "Cohen", "stage": "called"},
        changes=(_office("stage lost", stage="lost"), _phone("stage won, later", stage="won")),
        end={"stage": "won"},
        outcome="won: the later one",
        met=Met(at="office", strategy="newest", decision="theirs"),
    ),
    Scene(
        id="dayan",
        rule="newest",
        before={"name": "Dayan", "stage": "called"},
        changes=(_phone("stage lost", stage="lost"), _office("stage offer, later", stage="offer")),
        end={"stage": "offer"},
        outcome="offer: the later one",
        met=Met(at="office", strategy="newest", decision="ours"),
    ),
    Scene(
        id="eden",
        rule="newest, at the branch",
        before={"name": "Eden", "stage": "called"},
        changes=(_phone("stage lost", stage="lost"), _desk("desk: stage won, later", stage="won")),
        end={"stage": "won"},
        outcome="won: decided at the branch",
        met=Met(at="branch", strategy="newest", decision="ours"),
    ),
    Scene(
        id="fried",
        rule="server",
        before={"name": "Fried", "price": "20000"},
        changes=(_office("price 19500", price="19500"), _phone("price 21000", price="21000")),
        end={"price": "19500"},
        outcome="19500: the head office's",
        met=Met(at="office", strategy="server", decision="ours"),
    ),
    Scene(
        id="gal",
        rule="client",
        before={"name": "Gal", "note": "asked for a van"},
        changes=(_phone("note: two children", note="two children"), _office("note: no answer", note="no answer")),
        end={"note": "two children"},
        outcome="two children: who was there knows",
        met=Met(at="office", strategy="client", decision="theirs"),
    ),
    Scene(
        id="harel",
        rule="merge, other fields",
        before={"name": "Harel", "town": "Haifa"},
        changes=(_phone("town Akko", town="Akko"), _office("e-mail", email="harel@example.com")),
        end={"town": "Akko", "email": "harel@example.com"},
        outcome="both",
    ),
    Scene(
        id="itzik",
        rule="merge, a set",
        before={"name": "Itzik", "tags": ["diesel"]},
        changes=(_phone("tag family", tags=["diesel", "family"]), _office("tag urgent", tags=["diesel", "urgent"])),
        end={"tags": ["diesel", "family", "urgent"]},
        outcome="all three tags",
    ),
    Scene(
        id="katz",
        rule="manual",
        before={"name": "Katz", "discount": "0", "town": "Haifa"},
        changes=(
            _office("discount 5", discount="5"),
            _phone("discount 10, town Yafo", discount="10", town="Yafo"),
        ),
        end={"discount": AGREED, "town": "Yafo"},
        outcome=f"waits for a person, who says {AGREED}",
        met=Met(at="office", strategy="manual", decision="merged"),
    ),
    Scene(
        id="levi",
        rule="update wins",
        before={"name": "Levi", "stage": "called"},
        changes=(_phone("deletes it", "DELETE"), _office("stage offer", stage="offer")),
        end={"stage": "offer"},
        outcome="stays",
        met=Met(at="office", strategy="update-wins", decision="ours"),
    ),
    Scene(
        id="maor",
        rule="update wins",
        before={"name": "Maor", "town": "Lod"},
        changes=(_office("deletes it", "DELETE"), _phone("town Arad", town="Arad")),
        end={"name": "Maor", "town": "Arad"},
        outcome="lives again, with her change",
        met=Met(at="office", strategy="update-wins", decision="theirs"),
    ),
    Scene(
        id="visit",
        model="Visit",
        rule="delete wins",
        before={"name": "Test drive", "day": "2026-12-01"},
        changes=(_office("deletes it", "DELETE"), _phone("another day", day="2026-12-03")),
        end=None,
        outcome="stays deleted; her day is kept as a conflict",
        met=Met(at="office", strategy="delete-wins", decision="ours"),
    ),
    Scene(
        id="niv",
        rule="owner",
        before={"name": "Niv", "stage": "called"},
        changes=(
            _office("gives it to Eilat", owner_id=OMER, branch_id=OTHER_BRANCH),
            _phone("stage won", stage="won"),
        ),
        end={"stage": "called", "owner_id": OMER},
        outcome="leaves the branch; her change is refused",
        gone_below=True,
        refused="owner",
    ),
    Scene(
        id="oren",
        rule="fields",
        before={"name": "Oren", "stage": "called"},
        changes=(_phone("a field that leads do not have", colour="red"),),
        end={"stage": "called"},
        outcome="stays; her change is refused",
        refused="field",
    ),
    Scene(
        id="paz",
        rule="branch",
        before=None,
        changes=(_office("makes a lead for Eilat", "CREATE", name="Paz", owner_id=OMER, branch_id=OTHER_BRANCH),),
        end={"name": "Paz"},
        outcome="never comes to the branch",
        gone_below=True,
    ),
)
