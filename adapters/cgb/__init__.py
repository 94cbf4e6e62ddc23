"""ChatGPT Builder (CGB): one port, two styles.

`live` speaks what the running service answers, `documented` what older documents say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.cgb.calls import Style
from adapters.cgb.documented import DocumentedCgb
from adapters.cgb.live import LiveCgb

STYLES: Final[Mapping[str, Style]] = {"live": LiveCgb, "documented": DocumentedCgb}
