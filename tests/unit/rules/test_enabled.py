"""Which workers run, by the rules of a folder."""

from __future__ import annotations

from pathlib import Path

from daemon.rules.folder import init
from daemon.settings.model import Settings
from daemon.workers import enabled, rule_files


def test_a_process_of_some_workers_goes_by_the_rules_of_a_folder_that_has_those_of_all(tmp_path: Path) -> None:
    list(init(tmp_path, rule_files()))
    written = tmp_path / "messages.toml"
    written.write_text(written.read_text().replace("enabled = false", "enabled = true", 1))
    settings = Settings(ferryman_rules_dir=tmp_path, ferryman_workers=("automatic-messages",))
    running, off = enabled(settings)
    assert [worker.name for worker in running] == ["automatic-messages"]
    assert off == {}
