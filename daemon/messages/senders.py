"""The senders by provider and account. An account may be stored, changed and deleted while the process runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from adapters.ports import ReadMarker, Reconciler
from adapters.registry import SENDERS
from daemon.accounts import gate_to
from daemon.bus.worker import Outside
from schemas.credentials import DEFAULT, sends
from schemas.errors import ChannelDown, Refused
from schemas.messages import Content, OutboundMessage, Taken

if TYPE_CHECKING:
    from adapters.ports import Claim, Files, Sender
    from daemon.stores.credentials import Held

_NEEDS_ADDRESS: Final = "url"


class NoAccount(Refused):
    """There is no such account, neither stored nor in the settings."""


class Senders(Mapping[tuple[str, str], "AccountSender"]):
    """A sender for every account of every provider that sends, made when it is first asked for.

    *by_settings*: provider -> gives the values of its account `default`, of the providers that the settings configure.
    *beside*: what the settings of a provider say to each stored account of it. *systems*: the providers' names in
    errors. *files*: fetches the files that are uploaded.
    """

    def __init__(
        self,
        outside: Outside,
        *,
        by_settings: Mapping[str, Callable[[], Mapping[str, str]]],
        beside: Callable[[str], Mapping[str, str]],
        systems: Mapping[str, str],
        files: Files,
    ) -> None:
        self._outside = outside
        self._files = files
        self._by_settings = by_settings
        self._beside = beside
        self._systems = systems
        self._made: dict[tuple[str, str], AccountSender] = {}

    def __getitem__(self, of: tuple[str, str]) -> AccountSender:
        provider, account = of
        if provider not in self._systems or provider not in SENDERS:
            raise KeyError(of)
        if of not in self._made:
            self._made[of] = AccountSender(
                self._outside,
                provider,
                account,
                system=self._systems[provider],
                by_settings=self._by_settings.get(provider) if account == DEFAULT else None,
                beside=partial(self._beside, provider),
                files=self._files,
            )
        return self._made[of]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class AccountSender:
    """The `Sender` of one account, by what is stored of it, else by what the settings say of it (*by_settings*).

    An account of which there is neither is NoAccount. One that cannot be decrypted is a channel whose account is at
    fault: its messages wait until a person has given the key.
    """

    def __init__(
        self,
        outside: Outside,
        provider: str,
        account: str,
        *,
        system: str,
        by_settings: Callable[[], Mapping[str, str]] | None,
        beside: Callable[[], Mapping[str, str]],
        files: Files,
    ) -> None:
        self._outside = outside
        self._files = files
        self._provider = provider
        self._account = account
        self._gate = gate_to(outside, provider, system, account)
        self._by_settings = by_settings
        self._beside = beside
        self._now: tuple[Held | None, Sender] | None = None

    def refusal(self, content: Content) -> str | None:
        """See Sender."""
        return SENDERS[self._provider]().refusal(content)

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See Sender."""
        return await self._sender(await self._held()).send(message, claim)

    async def look_for(self, message: OutboundMessage, since: datetime) -> Taken | None:
        """See Reconciler. It is asked of those providers alone whose senders look."""
        sender = self._sender(await self._held())
        assert isinstance(sender, Reconciler)
        return await sender.look_for(message, since)

    async def mark_read(self, message_id: str) -> None:
        """See ReadMarker. It is asked of those providers alone whose senders mark."""
        sender = self._sender(await self._held())
        assert isinstance(sender, ReadMarker)
        await sender.mark_read(message_id)

    async def _held(self) -> Held | None:
        """What is stored of the account. Raises: ChannelDown."""
        if self._outside.credentials is None:
            return None
        expected = self._by_settings is None
        held = await self._outside.credentials.of(self._provider, self._account, expected=expected)
        if held is not None and held.error:
            await self._gate.channel.call("write", partial(self._down, f"it cannot be decrypted: {held.error}"))
        return held

    def _sender(self, held: Held | None) -> Sender:
        """The sender by *held*; another one than before, where that has changed. Raises: NoAccount."""
        if self._now is None or self._now[0] is not held:
            self._now = held, self._make(held)
        return self._now[1]

    def _make(self, held: Held | None) -> Sender:
        account = self._by_settings
        if held is not None:
            values = {**self._beside(), **held.values}
            account = (lambda: values) if _NEEDS_ADDRESS in values and sends(self._provider, values) else None
        if account is None:
            name = self._gate.channel.name
            raise NoAccount(f"{name} is not configured: see `ferryman status` and `ferryman credentials list`")
        public_url = self._outside.settings.ferryman_public_url
        return SENDERS[self._provider]()(self._gate, account=account, public_url=public_url, files=self._files)

    async def _down(self, why: str) -> NoReturn:
        name = self._gate.channel.name
        error = ChannelDown(f"the stored account {name}: {why}", channel=name)
        error.code = "no-key"
        raise error
