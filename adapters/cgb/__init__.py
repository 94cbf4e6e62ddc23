"""ChatGPT Builder (CGB): one port, two styles.

`live` speaks what the running service answers, `documented` what older documents say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.cgb.client import Style
from adapters.cgb.documented_directory import DocumentedCgb
from adapters.cgb.live_directory import LiveCgb

STYLES: Final[Mapping[str, Style]] = {"live": LiveCgb, "documented": DocumentedCgb}
