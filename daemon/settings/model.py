"""All knobs, one frozen record. An attribute is the environment name in lower case; README.md says the rest.

Units are in the names, or in the comment beside them. Nothing is read here: `daemon.settings.load` reads the
environment and the `.env` file, and tests give values by name: `Settings(ferryman_port=0)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.settings.values import (
    Directory,
    Emulator,
    FernetKeys,
    HttpAddress,
    PemKey,
    Phone,
    Plain,
    PostgresAddress,
    RedisAddress,
    SigningSecrets,
    Sources,
    Switch,
    Token,
    Tokens,
    Workers,
    one_of,
    seconds,
    whole,
)

TEMPLATE_PREFIX: Final = "CGB_TEMPLATE_"
"""CGB_TEMPLATE_<NAME>=<id> makes the CGB flow <id> sendable as the template <name>."""

LogLevel: TypeAlias = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    one_of("debug", "info", "warning", "error", "critical"),
]
ApiStyle: TypeAlias = Annotated[Literal["live", "documented"], one_of("live", "documented")]
Provider: TypeAlias = Annotated[
    Literal["cgb", "chatwoot", "meta", "twilio", "whapi"],
    one_of("cgb", "chatwoot", "meta", "twilio", "whapi"),
]
ConflictStrategy: TypeAlias = Annotated[
    Literal["newest", "local", "upstream", "manual"], one_of("newest", "local", "upstream", "manual")
]


class Settings(BaseSettings):
    """Every setting, checked. Secrets and DSNs are SecretStr, so neither repr nor a dump shows them.

    An empty tuple means: none given. `ferryman_workers == ()` means all workers. HTTP addresses have no slash
    at the end. Raises: pydantic.ValidationError, without the values, when a value is out of its range.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # stores; None: an embedded server under ferryman_data_dir
    redis_url: RedisAddress | None = None
    database_url: PostgresAddress | None = None

    # process
    ferryman_host: Plain = "127.0.0.1"
    ferryman_port: Annotated[int, whole(0, 65535)] = 8080  # 0: any free port
    ferryman_public_url: HttpAddress | None = None
    ferryman_data_dir: Directory = Path(".ferryman")
    ferryman_workers: Workers = ()
    ferryman_partitions: Annotated[int, whole(1, 1024)] = 16
    ferryman_lease_seconds: Annotated[float, seconds(2, 3600)] = 10.0
    ferryman_drain_seconds: Annotated[float, seconds(0.1, 3600)] = 25.0
    ferryman_max_in_flight: Annotated[int, whole(1, 10_000_000)] = 10_000  # events of one process
    ferryman_max_body_bytes: Annotated[int, whole(1, 1_000_000_000)] = 4_000_000
    ferryman_inbox_days: Annotated[int, whole(1, 3650)] = 30
    ferryman_stream_hours: Annotated[int, whole(1, 87_600)] = 72
    ferryman_poison_deliveries: Annotated[int, whole(1, 1000)] = 5
    ferryman_log_level: LogLevel = "info"

    # access
    ferryman_admin_token: Token | None = None
    ferryman_readonly_token: Token | None = None
    ferryman_secret_key: FernetKeys = ()  # the first encrypts, all decrypt
    ferryman_allow_unsigned: Sources = ()

    # webhook secrets: any entry of a list proves the sender
    orders_webhook_secret: SigningSecrets = ()
    orders_api_key: Tokens = ()
    chatwoot_webhook_secret: Tokens = ()
    cgb_webhook_secret: Tokens = ()
    meta_app_secret: Tokens = ()
    meta_verify_token: Tokens = ()
    whapi_webhook_secret: Tokens = ()
    dialog360_webhook_secret: Tokens = ()

    # CGB
    cgb_api_url: HttpAddress = "https://app.chatgptbuilder.io/api"
    cgb_api_style: ApiStyle = "live"
    cgb_api_key: Token | None = None
    cgb_timeout: Annotated[int, whole(1, 600_000)] = 30_000  # milliseconds per request
    cgb_retry_attempts: Annotated[int, whole(0, 100)] = 3
    cgb_cache_timeout: Annotated[int, whole(1, 604_800)] = 3600  # seconds
    cgb_rate_per_minute: Annotated[int, whole(1, 1_000_000)] = 90
    cgb_sync_enabled: Switch = True
    cgb_sync_dry_run: Switch = False
    cgb_sync_batch_size: Annotated[int, whole(1, 10_000)] = 10
    cgb_sync_concurrency: Annotated[int, whole(1, 1000)] = 5
    cgb_sync_delay_ms: Annotated[int, whole(0, 3_600_000)] = 2000
    cgb_sync_coalesce: Switch = False
    cgb_templates: Annotated[Mapping[str, Plain], Field(default_factory=lambda: MappingProxyType({}))]

    # Chatwoot
    chatwoot_base_url: HttpAddress | None = None
    chatwoot_api_access_token: Token | None = None
    chatwoot_account_id: Annotated[int, whole(1, 10**15)] | None = None
    chatwoot_whatsapp_inbox_id: Annotated[int, whole(1, 10**15)] = 1
    chatwoot_sweep_minutes: Annotated[int, whole(1, 10_080)] = 10

    # senders
    twilio_account_sid: Plain | None = None
    twilio_auth_token: Token | None = None
    twilio_whatsapp_number: Phone | None = None  # without whatsapp: in front
    twilio_api_url: HttpAddress = "https://api.twilio.com"
    meta_graph_url: HttpAddress = "https://graph.facebook.com/v23.0"
    meta_phone_number_id: Plain | None = None
    meta_waba_id: Plain | None = None
    meta_access_token: Token | None = None
    whapi_api_url: HttpAddress = "https://gate.whapi.cloud"
    whapi_token: Token | None = None
    messages_default_provider: Provider = "cgb"

    # archive; without a service account or emulator: files under ferryman_data_dir
    gcs_project_id: Plain | None = None
    gcs_bucket_prefix: Plain = "pacelane-whatsapp"
    gcs_client_email: Plain | None = None
    gcs_private_key: PemKey | None = None  # with real newlines, however it was given
    gcs_private_key_id: Plain | None = None
    gcs_token_url: HttpAddress = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    storage_emulator_host: Emulator | None = None  # with http:// in front, however it was given
    openai_api_key: Token | None = None
    openai_base_url: HttpAddress = "https://api.openai.com/v1"
    openai_transcription_model: Plain = "whisper-1"

    # record sync
    auto_sync_enabled: Switch = True
    sync_interval_minutes: Annotated[int, whole(1, 10_080)] = 5
    sync_upstream_url: HttpAddress | None = None
    sync_upstream_token: Token | None = None
    sync_batch_size: Annotated[int, whole(1, 10_000)] = 50
    sync_retention_days: Annotated[int, whole(1, 3650)] = 30
    sync_conflict_strategy: ConflictStrategy = "newest"

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: the loader reads the environment, and so can tell all its problems together."""
        return (init_settings,)

    @property
    def origins(self) -> Mapping[str, str]:
        """Environment name to "env" or ".env", for what was given; all other names have their defaults."""
        return self._origins
