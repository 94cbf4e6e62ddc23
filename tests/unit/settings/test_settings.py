"""Settings: all problems are reported at once, and no problem repeats a value."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from daemon.settings.hints import ignored_options, quoted
from daemon.settings.load import MOST, SettingsError, load_settings, masked_address, shown
from daemon.settings.model import Settings

EXTERNAL = {
    "REDIS_URL": "redis://:hunter2@cache:6379/0",
    "DATABASE_URL": "postgresql://app:hunter2@db:5432/f",
}
FERNET = base64.urlsafe_b64encode(bytes(range(200, 232))).decode()
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
SHORT_SECRET = "whsec_" + base64.b64encode(bytes(range(23))).decode()


def load(**environ: str) -> Settings:
    return load_settings(environ, None)


def problems(environ: Mapping[str, str], dotenv: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, dotenv)
    return caught.value.problems


def write(directory: Path, text: str) -> Path:
    path = directory / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_set_gives_the_defaults() -> None:
    settings = load_settings({"HOME": "/root", "PATH": "/bin"}, None)
    assert settings == Settings()
    assert (settings.ferryman_host, settings.ferryman_port) == ("127.0.0.1", 8080)
    assert settings.redis_url is None
    assert settings.cgb_api_url == "https://app.chatgptbuilder.io/api"
    assert (settings.cgb_sync_delay_ms, settings.cgb_rate_per_minute) == (2000, 90)
    assert settings.ferryman_workers == ()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().ferryman_port = 1  # type: ignore[misc]


def test_every_default_passes_its_own_check_unchanged() -> None:
    checked = Settings.model_validate(Settings().model_dump())
    assert checked == Settings()
    assert repr(checked) == repr(Settings())  # types too: 10.0 == 10


def test_a_name_that_is_not_a_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"ferryman_prt": 8080})


def test_settings_made_in_code_do_not_read_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_PORT", "9999")
    assert Settings().ferryman_port == 8080


def test_texts_become_values() -> None:
    settings = load(
        FERRYMAN_PORT=" 9000 ",
        FERRYMAN_LEASE_SECONDS="2.5",
        FERRYMAN_RULES_DIR=" /etc/ferryman/rules",
        CGB_SYNC_ENABLED="No",
        CGB_API_STYLE="Documented",
        CGB_API_URL="http://localhost:1234/any/path/",
        FERRYMAN_WORKERS="contact-sync, journal,",
        FERRYMAN_ALLOW_UNSIGNED="orders,360dialog",
        FERRYMAN_MESSAGE_BRANCHES="IL, se",
        MESSAGES_UPLOAD_HOSTS="Files.example.com, chat.local:3000",
        FERRYMAN_TIMEZONE="Asia/Jerusalem",
        ORDERS_API_KEY="one-0123456789abcdef, two-0123456789abcdef",
        TWILIO_ACCOUNT_SID="AC1",
        TWILIO_AUTH_TOKEN="t",
        TWILIO_WHATSAPP_NUMBER="whatsapp:+15550001234",
        STORAGE_EMULATOR_HOST="localhost:4443",
    )
    assert settings.ferryman_port == 9000
    assert settings.ferryman_lease_seconds == 2.5
    assert settings.ferryman_rules_dir == Path("/etc/ferryman/rules")
    assert settings.cgb_sync_enabled is False
    assert settings.cgb_api_style == "documented"
    assert settings.cgb_api_url == "http://localhost:1234/any/path"
    assert settings.ferryman_workers == ("contact-sync", "journal")
    assert settings.ferryman_allow_unsigned == ("orders", "360dialog")
    assert settings.ferryman_message_branches == ("il", "se")
    assert settings.messages_upload_hosts == ("files.example.com", "chat.local:3000")
    assert settings.ferryman_timezone == "Asia/Jerusalem"
    assert [key.get_secret_value() for key in settings.orders_api_key] == [
        "one-0123456789abcdef",
        "two-0123456789abcdef",
    ]
    assert settings.twilio_whatsapp_number == "+15550001234"
    assert settings.storage_emulator_host == "http://localhost:4443"


def test_an_empty_value_counts_as_not_set() -> None:
    assert load(FERRYMAN_PORT="", CGB_API_KEY="  ", REDIS_URL="") == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FERRYMAN_PORT", "65536"),
        ("FERRYMAN_PORT", "-1"),
        ("FERRYMAN_PORT", "٨٠٨٠"),
        ("FERRYMAN_PORT", "8_080"),
        ("FERRYMAN_PORT", "80.0"),
        ("FERRYMAN_PARTITIONS", "0"),
        ("FERRYMAN_PARTITIONS", "1025"),
        ("FERRYMAN_LEASE_SECONDS", "1.9"),
        ("FERRYMAN_LEASE_SECONDS", "nan"),
        ("FERRYMAN_DRAIN_SECONDS", "0"),
        ("FERRYMAN_LOG_LEVEL", "loud"),
        ("FERRYMAN_MESSAGE_BRANCHES", "il;se"),
        ("FERRYMAN_MESSAGE_BRANCHES", "il,5"),
        ("FERRYMAN_ISSUE_WAIT_SECONDS", "86401"),
        ("FERRYMAN_TIMEZONE", "Asia/Nowhere"),
        ("FERRYMAN_TIMEZONE", "../UTC"),
        ("FERRYMAN_ADMIN_TOKEN", "né"),
        ("FERRYMAN_PUBLIC_URL", "ferryman.example"),
        ("CGB_SYNC_DELAY_MS", "-1"),
        ("CGB_TIMEOUT", "0"),
        ("CGB_SYNC_ENABLED", "maybe"),
        ("CGB_API_STYLE", "new"),
        ("CGB_API_URL", "ftp://host/api"),
        ("CGB_API_URL", "https://user:pw@host/api"),
        ("CGB_API_URL", "https://"),
        ("CGB_API_URL", "https://host:99999/api"),
        ("REDIS_URL", "http://host"),
        ("REDIS_URL", "redis://"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgresql://user:a/b#c@host/db"),
        ("ORDERS_WEBHOOK_SECRET", "whsec_not base64!"),
        ("ORDERS_WEBHOOK_SECRET", "whsec_"),
        ("ORDERS_WEBHOOK_SECRET", SHORT_SECRET),
        ("ORDERS_WEBHOOK_SECRET", f"{SECRET},{SHORT_SECRET}"),
        ("ORDERS_API_KEY", "a"),
        ("ORDERS_API_KEY", "0123456789abcdef,0123456789abcde"),
        ("FERRYMAN_ADMIN_TOKEN", "0123456789abcde"),
        ("FERRYMAN_READONLY_TOKEN", "0123456789abcde"),
        ("META_VERIFY_TOKEN", "short"),
        ("FERRYMAN_SECRET_KEY", "c2hvcnQ="),
        ("FERRYMAN_SECRET_KEY", FERNET.replace("=", "!")),
        ("MESSAGES_DEFAULT_PROVIDER", "pigeon"),
        ("MESSAGES_FALLBACK_PROVIDERS", "twilio,pigeon"),
        ("MESSAGES_FALLBACK_PROVIDERS", "twilio/,meta"),
        ("MESSAGES_FALLBACK_PROVIDERS", "twilio whapi"),
        ("MESSAGES_UPLOAD_HOSTS", "https://files.example.com"),
        ("MESSAGES_UPLOAD_HOSTS", "files.example.com/visas"),
        ("MESSAGES_UPLOAD_HOSTS", "files.example.com files.example.org"),
        ("SYNC_CONFLICT_STRATEGY", "oldest"),
    ],
)
def test_a_malformed_value_is_one_problem_that_names_the_setting_and_not_the_value(name: str, value: str) -> None:
    (problem,) = problems({name: value})
    assert problem.startswith(name)
    assert " must be " in problem or "allowed:" in problem
    assert len(value) <= 6 or value not in problem


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("postgresql://u:a b@h/d", "write a space as %20"),
        ("postgresql://u:a[b@h/d", "write [ ] as %5B %5D"),
        ("postgresql://u:a/b@h/d", "write / ? # as %2F %3F %23"),
    ],
)
def test_a_password_that_breaks_an_address_is_a_problem_that_says_how_to_write_it(address: str, advice: str) -> None:
    (problem,) = problems({"DATABASE_URL": address})
    assert problem.startswith("DATABASE_URL must be an address ")
    assert problem.endswith(advice)


@pytest.mark.parametrize(
    "address",
    [
        "redis://h",
        "rediss://:p@h:6380/1",
        "unix:///run/r.sock?db=0",
        "redis+sentinel://a:1,b:2/m/0",
        "redis+cluster://h:1",
    ],
)
def test_every_kind_of_redis_address_is_kept_as_given(address: str) -> None:
    assert load(REDIS_URL=address).redis_url == SecretStr(address)


@pytest.mark.parametrize(
    "address",
    ["postgres://h/d", "postgresql://u:p%40@h1:1,h2:2/d?sslmode=require", "postgres:///d?host=/run/pg"],
)
def test_every_kind_of_postgres_address_is_kept_as_given(address: str) -> None:
    assert load(DATABASE_URL=address).database_url == SecretStr(address)


@pytest.mark.parametrize(
    ("name", "short", "sound", "command"),
    [
        ("ORDERS_API_KEY", "0123456789abcde", "0123456789abcdef", "openssl rand -hex 32"),
        ("FERRYMAN_ADMIN_TOKEN", "0123456789abcde", "0123456789abcdef", "openssl rand -hex 32"),
        ("ORDERS_WEBHOOK_SECRET", SHORT_SECRET, SECRET, "openssl rand -base64 32"),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused_with_the_command_that_makes_one(
    name: str, short: str, sound: str, command: str
) -> None:
    (problem,) = problems({name: short})
    assert command in problem
    assert short not in problem
    assert load(**{name: sound})


def test_a_value_that_is_refused_for_its_quotes_says_so() -> None:
    (problem,) = problems({"FERRYMAN_PORT": '"8080"'})
    assert "it is in quotes" in problem
    (problem,) = problems({"FERRYMAN_PORT": "8o8o"})
    assert "quotes" not in problem


def test_values_in_quotes_are_found_and_plain_ones_are_not() -> None:
    key = "0123456789abcdef"
    settings = load(ORDERS_API_KEY=f"'{key}'", CGB_API_KEY=f'"{key}"', CHATWOOT_WEBHOOK_SECRET=f'{key}"')
    assert quoted(settings) == ["ORDERS_API_KEY", "CGB_API_KEY"]
    assert quoted(load(ORDERS_API_KEY=f'"{key},{key}"')) == ["ORDERS_API_KEY"]
    assert quoted(Settings()) == []


def test_options_of_addresses_that_are_not_known_are_named_and_known_ones_are_listed() -> None:
    (problem,) = problems({"DATABASE_URL": "postgresql://h/d?colour=blue"})
    assert "DATABASE_URL has the option colour" in problem
    (problem,) = problems({"REDIS_URL": "redis://h/abc"})
    assert "REDIS_URL must end in the number of a database" in problem
    settings = load(DATABASE_URL="postgresql://h/d?pgbouncer=true")
    assert list(ignored_options(settings)) == [("DATABASE_URL", "pgbouncer")]


def test_webhook_secrets_and_fernet_keys_are_lists_for_rotation() -> None:
    plain = base64.b64encode(b"0123456789abcdef01234567").decode()
    settings = load(ORDERS_WEBHOOK_SECRET=f"whsec_{plain},{plain}", FERRYMAN_SECRET_KEY=f"{FERNET}, {FERNET}")
    assert len(settings.orders_webhook_secret) == len(settings.ferryman_secret_key) == 2


def test_a_private_key_gets_its_line_ends_back() -> None:
    key = r"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    settings = load(GCS_CLIENT_EMAIL="bot@p.iam.gserviceaccount.com", GCS_PRIVATE_KEY=key)
    assert settings.gcs_private_key is not None
    assert settings.gcs_private_key.get_secret_value().splitlines()[1] == "abc"


def test_templates_are_collected_by_name() -> None:
    settings = load(CGB_TEMPLATE_VISA_APPROVED="12345", CGB_TEMPLATE_STATUS="x")
    assert settings.cgb_templates == {"visa_approved": "12345", "status": "x"}
    assert ("CGB_TEMPLATE_VISA_APPROVED", "12345", "env") in shown(settings)


def test_a_template_with_a_malformed_id_is_a_problem_under_its_own_name() -> None:
    (problem,) = problems({"CGB_TEMPLATE_VISA": "a\nb"})
    assert problem.startswith("CGB_TEMPLATE_VISA must be")


def test_a_misspelled_name_is_a_problem_with_a_suggestion() -> None:
    (problem,) = problems({"FERRYMAN_PRT": "8080"})
    assert problem == "FERRYMAN_PRT in the environment is not a setting; did you mean FERRYMAN_PORT?"


def test_names_of_other_programs_in_the_environment_are_ignored() -> None:
    assert load_settings({"EDITOR": "vi", "REDIS_PORT": "1", "POSTGRES_PASSWORD": "x"}, None) == Settings()


def test_kubernetes_service_links_are_ignored() -> None:
    links = {
        "FERRYMAN_PORT": "tcp://10.0.0.7:8080",
        "FERRYMAN_SERVICE_HOST": "10.0.0.7",
        "FERRYMAN_SERVICE_PORT_HTTP": "8080",
        "FERRYMAN_PORT_8080_TCP_ADDR": "10.0.0.7",
        "CHATWOOT_PORT": "tcp://10.0.0.8:3000",
    }
    assert load_settings(links, None) == Settings()


def test_names_of_other_programs_in_the_file_are_ignored(tmp_path: Path) -> None:
    text = "COMPOSE_PROFILES=x\nPOSTGRES_PASSWORD=x\nVALKEY_IMAGE=x\nhttp_proxy=x\nCGB_TIMEOUT=5\n"
    assert load_settings({}, write(tmp_path, text)).cgb_timeout == 5


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cgb_api_key", "; did you mean CGB_API_KEY?"),
        ("REDIS_ULR", "; did you mean REDIS_URL?"),
        ("DATABASE_UR", "; did you mean DATABASE_URL?"),
        ("CGB_COLOUR", "; remove it"),
    ],
)
def test_a_name_in_the_file_that_is_probably_meant_for_us_is_a_problem(tmp_path: Path, name: str, advice: str) -> None:
    assert problems({}, write(tmp_path, f"{name}=x\n")) == (f"{name} in .env is not a setting{advice}",)


def test_the_file_that_the_environment_names_is_read_instead_of_the_usual_one(tmp_path: Path) -> None:
    usual = write(tmp_path, "CGB_TIMEOUT=5\nFERRYMAN_PORT=1\n")
    (tmp_path / "ours.env").write_text("CGB_TIMEOUT=6\n")
    settings = load_settings({"FERRYMAN_ENV_FILE": f"{tmp_path}/ours.env"}, usual)
    assert (settings.cgb_timeout, settings.ferryman_port) == (6, 8080)
    assert settings.origins["CGB_TIMEOUT"] == "ours.env"


def test_a_file_that_is_named_must_be_there_and_cannot_name_itself(tmp_path: Path) -> None:
    usual = write(tmp_path, "FERRYMAN_ENV_FILE=/elsewhere\n")
    (problem,) = problems({"FERRYMAN_ENV_FILE": f"{tmp_path}/nowhere.env"}, usual)
    assert problem.startswith("FERRYMAN_ENV_FILE names a file that is not there")
    assert problems({}, usual) == ("FERRYMAN_ENV_FILE in .env has no effect: set it in the environment",)


def test_whether_the_number_of_partitions_was_given_is_known() -> None:
    assert load().given_partitions is None
    assert load(FERRYMAN_PARTITIONS="16").given_partitions == 16


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "export FERRYMAN_PORT=1111\nCGB_API_KEY='a $HOME' # comment\nFERRYMAN_HOST=::1\n")
    settings = load_settings({"FERRYMAN_PORT": "2222", "FERRYMAN_HOST": ""}, path)
    assert settings.ferryman_port == 2222
    assert settings.ferryman_host == "::1"
    assert settings.cgb_api_key == SecretStr("a $HOME")
    origins = {name: origin for name, _, origin in shown(settings)}
    assert origins["FERRYMAN_PORT"] == "env"
    assert origins["CGB_API_KEY"] == ".env"
    assert origins["CGB_TIMEOUT"] == "default"


def test_a_missing_file_and_a_directory_give_no_settings(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path / ".env") == load_settings({}, tmp_path) == Settings()


def test_a_file_that_is_not_text_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"CGB_API_KEY=\xff\xfe")
    assert problems({}, path) == (".env cannot be read: make it a UTF-8 file that this user may read",)


def test_a_line_that_is_not_an_assignment_is_a_problem_with_its_number(tmp_path: Path) -> None:
    lines = problems({}, write(tmp_path, "FERRYMAN_PORT=1\nhunter2 hunter2\nCGB_API_KEY\n"))
    assert lines == ("line 2 of .env: write it as NAME=value", "line 3 of .env: write it as NAME=value")


def test_a_line_of_a_key_that_looks_like_a_name_is_not_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, "FERRYMAN_PORT=1\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC=\n")
    assert problems({}, path) == (
        "line 2 of .env is not a setting; remove it, or put the value it belongs to in double quotes",
    )


def test_a_name_in_the_environment_that_may_not_be_repeated_is_given_by_its_prefix() -> None:
    assert problems({"META_hunter2": "x"}) == (
        "a name in the environment that starts with META_ is not a setting; remove it",
    )


def test_an_unknown_name_in_file_and_environment_is_a_problem_of_each(tmp_path: Path) -> None:
    assert set(problems({"CGB_COLOUR": "x"}, write(tmp_path, "CGB_COLOUR=x\n"))) == {
        "CGB_COLOUR in .env is not a setting; remove it",
        "CGB_COLOUR in the environment is not a setting; remove it",
    }


def test_nothing_asks_for_the_admin_token_which_nothing_uses_yet() -> None:
    assert load_settings(EXTERNAL, None).ferryman_admin_token is None
    assert load_settings(EXTERNAL | {"FERRYMAN_ADMIN_TOKEN": "t" * 16}, None).ferryman_admin_token is not None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
        ("TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"),
        ("META_ACCESS_TOKEN", "META_PHONE_NUMBER_ID"),
        ("GCS_CLIENT_EMAIL", "GCS_PRIVATE_KEY"),
        ("SYNC_UPSTREAM_TOKEN", "SYNC_UPSTREAM_URL"),
        ("OPENAI_INTENT_MODEL", "OPENAI_API_KEY"),
    ],
)
def test_a_setting_that_needs_another_is_a_problem_without_it(given: str, missing: str) -> None:
    assert problems({given: "x"}) == (f"{missing} is missing: {given} works only with it",)


def test_an_unknown_worker_or_source_is_a_problem_that_lists_the_known_ones() -> None:
    environ = {"FERRYMAN_WORKERS": "journal,contact-sink"}
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, None, known={"FERRYMAN_WORKERS": ("journal", "contact-sync")})
    assert caught.value.problems == (
        "FERRYMAN_WORKERS has an unknown name as entry 2 of its list; allowed: contact-sync, journal",
    )
    unsigned = {"FERRYMAN_ALLOW_UNSIGNED": "orders,telegram"}
    with pytest.raises(SettingsError, match="entry 2 of its list; allowed: orders"):
        load_settings(unsigned, None, known={"FERRYMAN_ALLOW_UNSIGNED": ("orders",)})
    with pytest.raises(SettingsError, match="entry 1 of its list"):
        load_settings({"FERRYMAN_ALLOW_UNSIGNED": "all"}, None, known={"FERRYMAN_ALLOW_UNSIGNED": ("orders",)})
    assert (
        load_settings({"FERRYMAN_WORKERS": "all"}, None, known={"FERRYMAN_WORKERS": ("journal",)}).ferryman_workers
        == ()
    )


def test_all_problems_come_in_one_message_without_any_value(tmp_path: Path) -> None:
    path = write(tmp_path, "CGB_WHATEVER=hunter2\nCGB_TIMEOUT=hunter2\n")
    environ = {
        "REDIS_URL": "hunter2://x",
        "DATABASE_URL": "postgresql://u:hunter2@h:port/d",
        "CGB_AP_KEY": "hunter2",
        "TWILIO_AUTH_TOKEN": "hunter2",
        "ORDERS_WEBHOOK_SECRET": "whsec_hunter2",
        "FERRYMAN_WORKERS": "hunter2",
    }
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, path, known={"FERRYMAN_WORKERS": ("journal",)})
    text = str(caught.value)
    for name in (
        *environ,
        "CGB_WHATEVER",
        "CGB_TIMEOUT",
        "TWILIO_ACCOUNT_SID",
    ):
        assert name in text
    assert "hunter2" not in text
    assert text.startswith(f"{len(caught.value.problems)} problems")
    assert caught.value.__cause__ is None
    assert "hunter2" not in repr(caught.value)


def with_secrets() -> Settings:
    return load_settings(
        EXTERNAL
        | {
            "FERRYMAN_ADMIN_TOKEN": "hunter2-0123456789",
            "ORDERS_API_KEY": "hunter2-0123456789,hunter2-0123456789-old",
            "CGB_API_KEY": "hunter2",
            "FERRYMAN_SECRET_KEY": FERNET,
        },
        None,
    )


def test_no_secret_is_in_the_repr_or_in_a_dump() -> None:
    settings = with_secrets()
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hunter2" not in text
        assert FERNET not in text


def test_shown_settings_mask_secrets_and_passwords_and_keep_the_rest() -> None:
    rows = {name: text for name, text, _ in shown(with_secrets())}
    assert rows["REDIS_URL"] == "redis://:***@cache:6379/0"
    assert rows["DATABASE_URL"] == "postgresql://app:***@db:5432/f"
    assert rows["ORDERS_API_KEY"] == "***,***"
    assert rows["CGB_API_KEY"] == rows["FERRYMAN_SECRET_KEY"] == "***"
    assert rows["CHATWOOT_WEBHOOK_SECRET"] == rows["WHAPI_TOKEN"] == "unset"
    assert rows["FERRYMAN_WORKERS"] == "all"
    assert rows["CGB_SYNC_ENABLED"] == "true"
    assert "hunter2" not in str(rows)


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("redis://me:p@w@h", "redis://me:***@h"),
        ("unix:///s?password=p&db=1", "unix:///s?password=***&db=1"),
    ],
)
def test_only_the_password_of_an_address_is_masked(address: str, masked: str) -> None:
    assert masked_address(address) == masked


def test_a_validation_error_does_not_print_the_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"redis_url": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_file_too_large_for_settings_is_one_problem_and_is_not_read(tmp_path: Path) -> None:
    lines = problems({}, write(tmp_path, "CGB_HUNTER=2\n" * (MOST // 10)))
    assert lines == (".env is larger than 64 KiB: it cannot be a file of settings",)
