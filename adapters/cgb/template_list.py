"""CGB's flows as templates: a message names a flow as it names a template, and CGB tells nothing of what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.cgb.client import CgbCalls
from adapters.cgb.flow_list import FlowList
from adapters.gate import Gate
from schemas.templates import TemplateDefinition


class CgbFlows:
    """The `TemplateList` of a CGB account. Its values: `url`, which ends in `/api`, and `api_key`."""

    def __init__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> None:
        base_url = account()["url"]
        calls = CgbCalls(gate, base_url, lambda: {"X-ACCESS-TOKEN": account()["api_key"]}, account="/accounts/me")
        self._flows = FlowList(calls, cache_s=0.0)

    async def read(self) -> list[TemplateDefinition]:
        """See `TemplateList`; one call. Of several flows with one name the last one stands for it."""
        rows = ((id.replace("\x00", ""), name.replace("\x00", "")) for id, name in await self._flows.every())
        return [TemplateDefinition(name=name, provider_id=id) for id, name in rows]
