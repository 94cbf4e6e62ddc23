"""Every setting, in one frozen record. An attribute is the environment name in lower case.

deploy/SETTINGS.md says what each one means. Units are in the names, or in a comment on the line. This module reads
no environment and no file: `daemon.settings.load` does. Tests give values by name: `Settings(ferryman_port=0)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from daemon.settings.values import (
    Accounts,
    Branches,
    Directory,
    Emulator,
    EnvFile,
    FernetKeys,
    Hosts,
    HttpAddress,
    Keys,
    OwnToken,
    PemKey,
    Phone,
    Plain,
    PostgresAddress,
    RedisAddress,
    SigningSecrets,
    Sources,
    Switch,
    Token,
    Workers,
    Zone,
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
Programs: TypeAlias = Annotated[Literal["wheels", "system"], one_of("wheels", "system")]
Provider: TypeAlias = Annotated[
    Literal["cgb", "chatwoot", "meta", "twilio", "whapi"],
    one_of("cgb", "chatwoot", "meta", "twilio", "whapi"),
]
ConflictStrategy: TypeAlias = Annotated[
    Literal["newest", "server", "client", "merge", "manual"],
    one_of("newest", "server", "client", "merge", "manual"),
]


class Settings(BaseModel):
    """Every setting, with the given values checked. Defaults are used as written here; a test checks them.

    Secrets and store addresses are SecretStr: repr and dumps mask them. None and an empty tuple mean: not given;
    `ferryman_workers == ()` means all workers. HTTP addresses do not end with a slash.
    Raises: pydantic.ValidationError, whose text has no values, when a value is malformed or a name is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # stores; None: an embedded server, its data under ferryman_data_dir
    redis_url: RedisAddress | None = None
    database_url: PostgresAddress | None = None

    ferryman_embedded: Programs = "wheels"  # where the programs of embedded servers come from

    # process
    ferryman_env_file: EnvFile | None = None  # None: .env in the working directory, which may be missing
    ferryman_host: Plain = "127.0.0.1"
    ferryman_port: Annotated[int, whole(0, 65535)] = 8080  # 0: any free port
    ferryman_health_port: Annotated[int, whole(1, 65535)] | None = None  # None: health and metrics on ferryman_port
    ferryman_keepalive_seconds: Annotated[float, seconds(1, 3600)] = 75.0
    ferryman_public_url: HttpAddress | None = None
    ferryman_data_dir: Directory = Path(".ferryman")
    ferryman_rules_dir: Directory | None = None  # None: the rules that ship
    ferryman_workers: Workers = ()
    ferryman_partitions: Annotated[int, whole(1, 1024)] = 16  # the default is for the first start of all
    ferryman_lease_seconds: Annotated[float, seconds(2, 3600)] = 10.0
    ferryman_drain_seconds: Annotated[float, seconds(0.1, 3600)] = 25.0
    ferryman_max_in_flight: Annotated[int, whole(1, 10_000_000)] = 10_000  # events, for each process
    ferryman_max_body_bytes: Annotated[int, whole(1, 1_000_000_000)] = 4_000_000
    ferryman_inbox_days: Annotated[int, whole(1, 3650)] = 30
    ferryman_stream_hours: Annotated[int, whole(1, 87_600)] = 72
    ferryman_retention_refused_days: Annotated[int, whole(1, 3650)] = 90
    ferryman_retention_letters_days: Annotated[int, whole(1, 3650)] = 180
    ferryman_retention_conflicts_days: Annotated[int, whole(1, 3650)] = 90
    ferryman_retention_order_bodies_days: Annotated[int, whole(1, 3650)] = 365
    ferryman_retention_replays_days: Annotated[int, whole(1, 3650)] = 365
    ferryman_reconcile_minutes: Annotated[int, whole(1, 1440)] = 10
    ferryman_whatsapp_yes_days: Annotated[int, whole(1, 3650)] = 90
    ferryman_whatsapp_no_days: Annotated[int, whole(1, 3650)] = 14
    ferryman_poison_deliveries: Annotated[int, whole(1, 1000)] = 5
    ferryman_log_level: LogLevel = "info"
    ferryman_timezone: Zone = "UTC"

    # messages
    ferryman_message_branches: Branches = ()  # of Vizi, in lower case; whose customers may get messages; empty: all
    ferryman_issue_wait_seconds: Annotated[float, seconds(0, 86_400)] = 600.0  # that a report waits for its order

    # conversations
    ferryman_understand_after_seconds: Annotated[float, seconds(0, 3600)] = 30.0  # of silence
    ferryman_understand_within_seconds: Annotated[float, seconds(0, 86_400)] = 300.0
    ferryman_bot_pause_minutes: Annotated[float, seconds(0, 10_080)] = 30.0  # after a human agent's last word

    # access
    ferryman_admin_token: OwnToken | None = None
    ferryman_readonly_token: OwnToken | None = None
    ferryman_secret_key: FernetKeys = ()  # the first encrypts, all decrypt
    ferryman_allow_unsigned: Sources = ()

    # webhook secrets: a sender may prove itself by any entry of its list
    orders_webhook_secret: SigningSecrets = ()
    orders_api_key: Keys = ()
    chatwoot_webhook_secret: Keys = ()
    cgb_webhook_secret: Keys = ()
    meta_app_secret: Keys = ()
    meta_verify_token: Keys = ()
    whapi_webhook_secret: Keys = ()
    dialog360_webhook_secret: Keys = ()
    twilio_webhook_secret: Keys = ()  # besides twilio_auth_token

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
    cgb_refresh_minutes: Annotated[int, whole(0, 10_080)] = 60  # 0: never
    cgb_refresh_days: Annotated[int, whole(1, 365)] = 7
    cgb_sync_branches: Branches = ()  # of Vizi, in lower case; whose orders are synced; empty: all
    cgb_templates: Mapping[str, Plain] = Field(default_factory=dict)  # template name in lower case: flow id

    # Chatwoot
    chatwoot_base_url: HttpAddress | None = None
    chatwoot_api_access_token: Token | None = None
    chatwoot_account_id: Annotated[int, whole(1, 10**15)] | None = None
    chatwoot_whatsapp_inbox_id: Annotated[int, whole(1, 10**15)] = 1
    chatwoot_sweep_minutes: Annotated[int, whole(1, 10_080)] = 10

    # senders
    twilio_account_sid: Plain | None = None
    twilio_auth_token: Token | None = None
    twilio_whatsapp_number: Phone | None = None  # without the prefix "whatsapp:"
    twilio_api_url: HttpAddress = "https://api.twilio.com"
    meta_graph_url: HttpAddress = "https://graph.facebook.com/v23.0"
    meta_phone_number_id: Plain | None = None
    meta_waba_id: Plain | None = None
    meta_access_token: Token | None = None
    whapi_api_url: HttpAddress = "https://gate.whapi.cloud"
    whapi_token: Token | None = None
    whapi_rate_per_minute: Annotated[int, whole(1, 1_000_000)] = 20
    messages_default_provider: Provider = "cgb"
    messages_fallback_providers: Accounts = ()  # PROVIDER or PROVIDER/ACCOUNT, in order
    messages_upload_hosts: Hosts = ()  # in lower case; empty: of ferryman_public_url and chatwoot_base_url

    # archive; neither a service account nor an emulator: files under ferryman_data_dir
    gcs_project_id: Plain | None = None
    gcs_bucket_prefix: Plain = "pacelane-whatsapp"
    gcs_client_email: Plain | None = None
    gcs_private_key: PemKey | None = None  # line ends are newlines, also where \n was given
    gcs_private_key_id: Plain | None = None
    gcs_token_url: HttpAddress = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    storage_emulator_host: Emulator | None = None  # starts with http:// or https://, also where neither was given
    ferryman_attachment_max_bytes: Annotated[int, whole(1, 1_000_000_000)] = 40_000_000  # of one file of a message
    openai_api_key: Token | None = None
    openai_base_url: HttpAddress = "https://api.openai.com/v1"
    openai_transcription_model: Plain = "whisper-1"
    openai_intent_model: Plain | None = None  # unset: intents by the rules alone

    # record sync
    auto_sync_enabled: Switch = True
    sync_interval_minutes: Annotated[int, whole(1, 10_080)] = 5
    sync_upstream_url: HttpAddress | None = None
    sync_upstream_token: Token | None = None
    sync_batch_size: Annotated[int, whole(1, 50)] = 50
    sync_retention_days: Annotated[int, whole(1, 3650)] = 30
    sync_horizon_days: Annotated[int, whole(1, 3650)] = 90
    sync_conflict_strategy: ConflictStrategy = "newest"

    # environment name: "env" or the name of the file, for what the loader read; a name that is not here has its default
    origins: Mapping[str, str] = Field(default_factory=dict, repr=False, exclude=True)
    # environment names that the file gives otherwise than the environment, which wins
    overruled: tuple[str, ...] = Field(default=(), repr=False, exclude=True)

    @property
    def given_partitions(self) -> int | None:
        """The number of partitions, where it was given. Else the database's number is in force."""
        return self.ferryman_partitions if "ferryman_partitions" in self.model_fields_set else None
