"""What deploy/ ships: each file is accepted by the program that reads it, and keeps the promises made for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from daemon.cli.main import commands
from daemon.settings.model import Settings
from daemon.stores.embedded.binaries import valkey_binary

REPOSITORY: Final = Path(__file__).parents[2]
DEPLOY: Final = REPOSITORY / "deploy"
DRAIN_SECONDS: Final = 25  # the default of FERRYMAN_DRAIN_SECONDS

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists: systemd-analyze looks for it."""
    text = (DEPLOY / "ferryman.service").read_text()
    assert "\nExecStart=/opt/ferryman/bin/ferryman run\n" in text
    path = tmp_path / "ferryman.service"
    path.write_text(re.sub("/opt/ferryman/bin/ferryman (run|reload)", "/bin/sh", text))
    shutil.copy(DEPLOY / "ferryman.socket", tmp_path)
    return path


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """The instructions, each on one line, without comments."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@needs_systemd
def test_systemd_finds_no_fault_in_the_unit(unit: Path) -> None:
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@needs_systemd
def test_systemd_finds_no_fault_in_the_socket(unit: Path) -> None:
    socket = unit.with_name("ferryman.socket")
    verified = subprocess.run(["systemd-analyze", "verify", str(socket)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_socket_is_at_the_address_that_the_daemon_has_by_default() -> None:
    (address,) = re.findall(r"^ListenStream=(.*)$", (DEPLOY / "ferryman.socket").read_text(), flags=re.M)
    assert address == f"{Settings().ferryman_host}:{Settings().ferryman_port}"


def test_the_unit_needs_its_file_and_reads_it_again_at_a_reload() -> None:
    unit = (DEPLOY / "ferryman.service").read_text()
    assert "EnvironmentFile" not in unit, "the environment of a process cannot change, and would win over the file"
    (copy,) = set(re.findall(r"^Exec(?:StartPre|Reload)=\+(.*)$", unit, flags=re.M))
    program, _, mode, source, target = copy.split()
    assert (program, mode, source) == ("/usr/bin/install", "0644", "/etc/ferryman/ferryman.env")
    assert f"\nEnvironment=FERRYMAN_ENV_FILE={target}\n" in unit
    assert "\nRuntimeDirectoryMode=0700\n" in unit
    reloads = re.findall(r"^ExecReload=(.*)$", unit, flags=re.M)
    assert reloads == [f"+{copy}", "/opt/ferryman/bin/ferryman reload"]


@needs_systemd
def test_the_unit_is_hardened(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout


def test_the_unit_lets_the_daemon_drain_and_stops_after_many_failures() -> None:
    unit = (DEPLOY / "ferryman.service").read_text()
    values = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert int(values["TimeoutStopSec"]) > DRAIN_SECONDS
    assert (values["Type"], values["KillMode"], values["Restart"]) == ("exec", "mixed", "on-failure")
    assert {"StartLimitBurst", "StartLimitIntervalSec", "StateDirectory", "DynamicUser"} <= values.keys()


def test_the_image_is_built_in_two_stages_and_runs_without_root_or_a_shell(dockerfile: list[str]) -> None:
    bases = [line for line in dockerfile if line.startswith("FROM ")]
    assert len(bases) == 2
    assert "ARG PYTHON=python:3.11-slim-bookworm" in dockerfile
    last_stage = dockerfile[dockerfile.index(bases[1]) :]
    assert [line for line in last_stage if line.startswith("USER ")] == ["USER 10001:10001"]
    assert "STOPSIGNAL SIGTERM" in last_stage
    assert 'ENTRYPOINT ["ferryman"]' in last_stage
    assert 'CMD ["run"]' in last_stage
    (health,) = (line for line in last_stage if line.startswith("HEALTHCHECK "))
    assert re.search(r'CMD \["python", "-c", ".*/livez', health)
    assert any("--require-hashes -r deploy/requirements.txt" in line for line in dockerfile)


def test_the_health_check_of_the_image_is_python(dockerfile: list[str]) -> None:
    (health,) = (line for line in dockerfile if line.startswith("HEALTHCHECK "))
    code = yaml.safe_load(health[health.index("[") :])[2]
    refused = subprocess.run(
        [sys.executable, "-c", code], env={"FERRYMAN_PORT": "1"}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "ConnectionRefusedError" in refused.stderr


def test_the_image_gets_all_that_its_build_copies_and_no_more() -> None:
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    kept = {line[1:] for line in rules if line.startswith("!")}
    assert rules[0] == "*"
    assert kept == {"pyproject.toml", "README.md", "schemas", "adapters", "daemon", "deploy/requirements.txt"}


def test_every_service_is_hardened(services: dict[str, Any]) -> None:
    assert services.keys() == {"ferryman", "migrate", "redis", "postgres"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_the_daemon_starts_after_its_stores_and_the_migrations(services: dict[str, Any]) -> None:
    needs = {name: need["condition"] for name, need in services["ferryman"]["depends_on"].items()}
    assert needs == {
        "migrate": "service_completed_successfully",
        "redis": "service_healthy",
        "postgres": "service_healthy",
    }
    assert services["migrate"]["command"] == ["migrate"]
    assert int(services["ferryman"]["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS
    assert all("healthcheck" in services[name] for name in ("ferryman", "redis", "postgres"))


def test_no_store_is_published_and_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for name in ("redis", "postgres"):
        assert "ports" not in services[name]
        assert services[name]["networks"] == ["stores"]
    assert services["ferryman"]["env_file"] == ["ferryman.env"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_the_redis_configuration_is_loaded_and_durable(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ft-") as sockets:
        socket = f"{sockets}/s"
        options = ["--port", "0", "--unixsocket", socket, "--dir", str(tmp_path)]
        server = subprocess.Popen(
            [str(valkey_binary()), str(DEPLOY / "redis.conf"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            with Redis(unix_socket_path=socket) as client:
                wait_for(client, server)
                config: Any = client.config_get("*")
        finally:
            server.terminate()
            server.communicate(timeout=20)
    plain = {_text(name): _text(value) for name, value in config.items()}
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
    assert wanted.items() <= plain.items()


def wait_for(client: Redis, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
        except RedisConnectionError:
            assert server.poll() is None, server.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_the_constraints_fix_every_direct_dependency_within_its_range() -> None:
    lines = [line for line in (DEPLOY / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)
    fixed = dict(line.split("==") for line in lines)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    for requirement in map(Requirement, texts):
        name = canonicalize_name(requirement.name)
        if name != project["name"]:
            assert requirement.specifier.contains(fixed[name], prereleases=True), requirement


def test_a_wheel_has_every_file_that_the_packages_read() -> None:
    """setuptools leaves out what no pattern names; an installation that lacks it fails where no test runs."""
    data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    files = [path for top in ("schemas", "adapters", "daemon") for path in (REPOSITORY / top).rglob("*.*")]
    needed = [path for path in files if path.is_file() and path.suffix not in (".py", ".pyc", ".md")]
    assert {path.name for path in needed} >= {"fields.toml", "order.json", "0001_bus.sql", "py.typed"}
    assert [path for path in needed if not any(path.match(pattern) for pattern in data)] == []


def pinned(file: str) -> dict[str, tuple[str, list[str]]]:
    """The packages of a file of requirements: version, and digests."""
    lines = [line for line in (DEPLOY / file).read_text().splitlines() if not line.startswith("#")]
    found = {}
    for block in re.split(r"\n(?=\S)", "\n".join(lines).strip()):
        requirement, *digests = re.split(r"\s*\\\n\s+--hash=", block)
        of = re.fullmatch(r"([a-z0-9-]+)==([^\s;]+)(?: ;.*)?", requirement)
        assert of is not None, requirement
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in digests)
        found[of[1]] = (of[2], digests)
    return found


def needed(*extras: str) -> set[str]:
    """The names of all packages that Ferryman with *extras* needs here, by what is installed."""
    names, seen = [("ferryman", frozenset(extras))], set[tuple[str, frozenset[str]]]()
    while names:
        name, of = names.pop()
        if (name, of) in seen:
            continue
        seen.add((name, of))
        names += [
            (canonicalize_name(requirement.name), frozenset(requirement.extras))
            for requirement in map(Requirement, metadata.requires(name) or ())
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in of or {""})
        ]
    return {name for name, _ in seen} - {"ferryman"}


def test_a_server_gets_each_package_in_the_tested_version_and_by_its_digest() -> None:
    lines = (DEPLOY / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    server, embedded = pinned("requirements.txt"), pinned("requirements-embedded.txt")
    assert needed("speed", "") <= server.keys()
    assert needed("embedded", "") <= server.keys() | embedded.keys()
    assert not server.keys() & embedded.keys()
    for name, (version, digests) in (server | embedded).items():
        assert tested[name] == version
        assert digests, name


def test_nothing_is_installed_by_our_bare_name_which_is_not_ours_on_the_public_index() -> None:
    pages = [REPOSITORY / "README.md", *(path for path in DEPLOY.iterdir() if path.is_file())]
    for page in pages:
        for line in re.findall(r"pip install[^\n]*", page.read_text()):
            assert not re.search(r"\sferryman\b|['\"]ferryman\b", line), f"{page.name}: {line}"


def verbs(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every verb below *command*, with its options."""
    if hasattr(command, "commands"):  # a group; its class is one of typer's own
        for inner in command.commands.values():
            yield from verbs(inner, f"{name} {inner.name}".strip())
        return
    yield name, {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def test_the_table_of_commands_is_that_of_the_program() -> None:
    page = (DEPLOY / "README.md").read_text()
    section = page.partition("\n## Commands\n")[2].partition("\n## ")[0]
    told: dict[str, set[str]] = {}
    for line in re.findall(r"^\| `ferryman ([^`]+)` \|", section, flags=re.M):
        verb = re.match(r"[a-z-]+(?: [a-z][a-z-]*)?", line)
        assert verb is not None
        told.setdefault(verb[0], set()).update(re.findall(r"--[a-z-]+", line))
    of_every_verb = {"--env-file"}
    assert "Every command takes `--env-file FILE`" in section
    assert told == {verb: options - of_every_verb for verb, options in verbs(typer.main.get_command(commands("")))}
    assert all(of_every_verb <= options for _, options in verbs(typer.main.get_command(commands(""))))
