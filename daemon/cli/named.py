"""What an operator names an event or a dead letter by."""

from __future__ import annotations

from typing import Final

from daemon.operator.naming import LEAST

HELP: Final = (
    f"An event's id or its beginning ({LEAST} characters or more), its order's id, the number of its dead letter,"
    " or its key: a phone, an e-mail address, of a report the applicant's id."
)

LETTER_HELP: Final = f"The number of a dead letter, as `list` names it, or its event. {HELP}"
