"""`ferryman rules`: which files count, what is wrong with them, and where they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli.main import commands
from daemon.workers import rule_files

NAMES = [file.name for file in rule_files()]
WRONG = '[[rules]]\nwhere = { field = "Emial" }\nthen = { owner = "cgb" }\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FERRYMAN_RULES_DIR", raising=False)


def rules(*argv: str, folder: Path | str | None = None) -> tuple[int, str]:
    env = {} if folder is None else {"FERRYMAN_RULES_DIR": str(folder)}
    answer = CliRunner().invoke(commands("rules"), ["rules", *argv], env=env)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def test_check_says_which_file_counts(tmp_path: Path) -> None:
    shipped = "".join(f"{name}: shipped\n" for name in NAMES)
    assert rules("check") == (0, shipped)
    assert rules("check", folder=tmp_path) == (0, shipped)
    rules("init", str(tmp_path))
    own = {name: f"{tmp_path}/{name}" for name in NAMES}
    assert rules("check", folder=tmp_path) == (0, "".join(f"{name}: {path}\n" for name, path in own.items()))
    code, said = rules("check", "--json", folder=tmp_path)
    assert (code, json.loads(said)) == (
        0,
        {"ok": True, "files": own, "problems": []},
    )


def test_check_says_all_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "fields.toml").write_text(WRONG)
    (tmp_path / "feilds.toml").write_text(WRONG)
    code, said = rules("check", folder=tmp_path)
    assert (code, len(said.splitlines())) == (1, 2)
    assert f"{tmp_path}/feilds.toml: is no rule file" in said
    assert f"{tmp_path}/fields.toml:2: rules[1].where.field: Emial is no field" in said
    code, said = rules("check", "--json", folder=tmp_path)
    document = json.loads(said)
    assert (code, document["ok"], len(document["problems"])) == (1, False, 2)
    assert {"file", "line", "key", "text"} == document["problems"][1].keys()
    assert document["problems"][1]["line"] == 2
    assert rules("check", folder="nowhere")[0] == 1


def test_init_writes_where_it_is_told_else_where_the_settings_say_else_here(tmp_path: Path) -> None:
    code, said = rules("init", "--dry-run")
    assert (code, "rules/fields.toml: would be written" in said, list(tmp_path.iterdir())) == (0, True, [])
    code, said = rules("init")
    assert (code, (tmp_path / "rules" / "fields.toml").exists()) == (0, True)
    assert f"these count where FERRYMAN_RULES_DIR is {tmp_path}/rules" in said
    for end in ("written", "left as it is"):
        assert rules("init", folder="set") == (0, "".join(f"set/{name}: {end}\n" for name in NAMES))
    assert f"told/{NAMES[-1]}: written\nthese count where" in rules("init", "told", folder="set")[1]
