"""Vizi's webhook of applicant issues: what is wrong with one applicant's documents, one applicant per request.

`{"applicantId": "apl_…", "phone": "972…" (optional), "issues": {"face_photo": [{"value": …, "label": …}], …}}`

The delivery's identity is the applicant's id and the content: the same content again is a duplicate, however its JSON
is spelled. The key is the applicant. The optional phone is where a message is to go instead of the order's phone; it
says nothing of who the applicant is, and most reports have none. So the reports of one applicant stay in their order,
and a report that waits for its order holds up nothing else of that person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adapters.ports import NoIdentity, Source, Webhook
from adapters.vizi import proofs
from adapters.vizi.sample import sample_report
from schemas.applicant_issues import applicant_id_of
from schemas.envelope import Event, content_digest, event_id
from schemas.identity import key


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """One `applicant_issue.received`. Decides nothing: a report of an unexpected shape fails visibly in the worker.

    Raises: NoIdentity when there is no `applicantId`.
    """
    applicant_id = applicant_id_of(doc)
    if applicant_id is None:
        raise NoIdentity("the body has no applicantId")
    return [
        Event(
            id=event_id("issues", applicant_id, state=content_digest(doc)),
            type="applicant_issue.received",
            source="issues",
            subject=key(applicant_id=applicant_id),
            time=now,
            data=request.body,
        )
    ]


SOURCE = Source(
    name="issues",
    path="/webhooks/issues",
    secrets=proofs.SECRETS,
    early=proofs.early,
    verify=proofs.verify,
    doubt=proofs.doubt,
    parse=parse,
    sample=sample_report,
    scheme=proofs.SCHEME,
    advice=proofs.ADVICE,
    entered="Vizi's webhook of what is wrong with an applicant's documents, with the header X-API-Key",
)
