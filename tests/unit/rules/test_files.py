"""Rule files: every problem is told at once, at its line, and nothing in a file ends in a traceback."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict

from daemon.rules.files import MOST_BYTES, MOST_PROBLEMS, RuleFile, Rules, check, load, load_all, own
from daemon.rules.lines import Lines
from daemon.rules.problems import Fault, Problem, WrongRules


def _even(number: int) -> int:
    if number % 2:
        raise ValueError("must be even: add one")
    return number


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["a", "b"]
    size: Annotated[int, AfterValidator(_even)] = 0
    names: tuple[str, ...] = ()


class Toys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Part, ...] = ()
    title: str = "shipped"


def _same_title(document: Mapping[str, Any]) -> Iterator[Fault]:
    if document.get("title") == "twice":
        yield Fault(("title",), "is taken: choose another one")


class Toy(RuleFile[Toys]):
    """A rule file whose shipped content is given here."""

    def shipped(self) -> bytes:
        return b'title = "shipped"\n'


TOYS: Final = Toy("toys.toml", Toys, _same_title)
OTHERS: Final = Toy("others.toml", Toys)


def told(folder: Path, content: str | bytes) -> list[str]:
    """The problems of a file with that content, without the folder."""
    data = content.encode() if isinstance(content, str) else content
    (folder / "toys.toml").write_bytes(data)
    problems = check(folder, [TOYS])
    if problems:
        with pytest.raises(WrongRules) as caught:
            load(folder, TOYS)
        assert list(caught.value.problems) == problems
    else:
        assert isinstance(load(folder, TOYS), Toys)
    return [str(problem).removeprefix(f"{folder}/") for problem in problems]


def test_a_folder_without_the_file_gets_the_shipped_one(tmp_path: Path) -> None:
    assert (load(None, TOYS).title, load(tmp_path, TOYS).title) == ("shipped", "shipped")
    (tmp_path / "toys.toml").write_text('title = "mine"')
    (tmp_path / "README").write_text("other files are ignored")
    (tmp_path / ".toys.toml").write_text("[")
    rules = load_all(tmp_path, [TOYS, OTHERS])
    assert (rules(TOYS).title, rules(OTHERS).title) == ("mine", "shipped")
    assert Rules()(TOYS).title == "shipped"
    assert (own(tmp_path, TOYS), own(tmp_path, OTHERS), own(None, TOYS)) == (tmp_path / "toys.toml", None, None)


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ('title = "mine"', []),
        ('\ufefftitle = "a mark before it"', []),
        ("# a comment alone\n", []),
        ("", ["toys.toml: is empty"]),
        (" \r\n", ["toys.toml: is empty"]),
        ("title = 1\n", ["toys.toml:1: title: must be a text in quotes"]),
        ("\n\ntilte = 1\n", ["toys.toml:3: tilte: is no key that may stand here: did you mean title?"]),
        ("\nfurther = 1\n", ["toys.toml:2: further: is no key that may stand here: correct it, or take it out"]),
        (
            '[[rules]]\nkind = "a"\n[[rules]]\nkind = "b"\nsizes = 2\ntitel = ""\n',
            [
                "toys.toml:5: rules[2].sizes: is no key that may stand here: did you mean size?",
                "toys.toml:6: rules[2].titel: is no key that may stand here: correct it",
            ],
        ),
        ("[[rules]]\nsize = 2\n", ["toys.toml:1: rules[1].kind: is missing"]),
        ("rules = 3", ["toys.toml:1: rules: must be a list in brackets"]),
        ("rules = [3]", ["toys.toml:1: rules[1]: must be a table"]),
        ("title = \n", ["toys.toml:1: is no TOML: Invalid value"]),
        ("a = 1\nb = [\n", ["toys.toml:2: is no TOML: Invalid value"]),
        ("a = 1\na = 2\n", ["toys.toml:2: is no TOML: Cannot overwrite a value"]),
        ('a = "\x1b[2J"', [r"toys.toml:1: is no TOML: Illegal character '\x1b'"]),
        (b"a = 1\n\xff", ["toys.toml:2: is not UTF-8 here"]),
        ("a = " + "[" * 5000, ["toys.toml: has too many brackets within brackets"]),
        ("a = " + "1" * 5000, ["toys.toml: holds a number of too many digits"]),
        ("#" * (MOST_BYTES + 1), ["toys.toml: is larger than 64 KiB"]),
        ("#" * MOST_BYTES, []),
        ('title = "twice"', ["toys.toml:1: title: is taken"]),
        (
            'title = "twice"\n[[rules]]\nkind = "c"\nsize = 3\n\n[[rules]]\nkind = "a"\nnames = [\n  "x",\n  7,\n]\n',
            [
                "toys.toml:1: title: is taken",
                "toys.toml:3: rules[1].kind: must be 'a' or 'b'",
                "toys.toml:4: rules[1].size: must be even: add one",
                "toys.toml:8: rules[2].names[2]: must be a text in quotes",
            ],
        ),
        (
            'title = """\n[[rules]]\n] # "\n"""\nrules = [\n { kind = "a" },\n]\nx.y = 1\n',
            ["toys.toml:8: x: is no key"],
        ),
        ("title = '''\n'''\n'\\u001b[2J\\u202e' = 1\r\n\"\\u001b\" = 2\r\n", ["toys.toml:3: ", "toys.toml:4: \\x1b: "]),
        ('"' + "x" * 500 + '" = 1', [f"toys.toml:1: {'x' * 60}…: is no key"]),
    ],
)
def test_each_problem_is_one_line_with_its_place(content: str | bytes, problems: list[str], tmp_path: Path) -> None:
    found = told(tmp_path, content)
    assert len(found) == len(problems), found
    for line, wanted in zip(found, problems, strict=True):
        assert line.startswith(wanted)
        assert line.isprintable()
        assert len(line) < 250


def test_a_file_of_nothing_but_problems_is_answered_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    found = told(tmp_path, "\n".join(f"k{n} = {n}" for n in range(4000)))
    assert time.monotonic() - began < 20
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == f"toys.toml: has {4000 - MOST_PROBLEMS} problems more: mend these first"


def test_no_depth_of_brackets_ends_in_a_traceback(tmp_path: Path) -> None:
    for depth in range(200, 600):
        (tmp_path / "toys.toml").write_text(f"a = {'[' * depth}{']' * depth}")
        (problem,) = check(tmp_path, [TOYS])
        assert "is no key" in problem.text or "too many brackets" in problem.text


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: os.mkfifo(path), "is no file"),
        (lambda path: path.symlink_to("nowhere"), "is a link that leads to no file"),
        (lambda path: path.symlink_to(path.name), "cannot be read (Too many levels of symbolic links)"),
    ],
    ids=["directory", "pipe", "dangling link", "link to itself"],
)
def test_what_is_no_file_that_can_be_read_is_one_line(make: Any, wanted: str, tmp_path: Path) -> None:
    make(tmp_path / "toys.toml")
    (problem,) = check(tmp_path, [TOYS])
    assert str(problem).startswith(f"{tmp_path}/toys.toml: {wanted}")


def test_a_file_that_this_user_may_not_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "toys.toml").touch()
    monkeypatch.setattr(Path, "open", refused)
    assert [str(problem) for problem in check(tmp_path, [TOYS])] == [
        f"{tmp_path}/toys.toml: cannot be read (Permission denied): let this user read it"
    ]


def test_a_file_that_this_user_may_not_look_at_does_not_count_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "lstat", refused)
    monkeypatch.setattr(Path, "stat", refused)
    (problem,) = check(tmp_path, [TOYS])
    assert problem.text == "cannot be read (Permission denied): let this user read it"


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "real").write_text('title = "linked"')
    (tmp_path / "toys.toml").symlink_to("real")
    assert load(tmp_path, TOYS).title == "linked"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("toyz.toml", "did you mean toys.toml?"), ("TOYS.TOML", "did you mean toys.toml?"), ("x.toml", "take it out")],
)
def test_a_file_that_nothing_reads_is_a_problem(name: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")
    (problem,) = check(tmp_path, [TOYS, OTHERS])
    assert str(problem).startswith(f"{tmp_path}/{name}: is no rule file (known are toys.toml, others.toml): ")
    assert problem.text.endswith(hint)
    with pytest.raises(WrongRules):
        load_all(tmp_path, [TOYS, OTHERS])


@pytest.mark.parametrize(("name", "wanted"), [("nowhere", "is not there"), ("file", "is no folder")])
def test_a_folder_that_is_none_is_one_problem(name: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = check(tmp_path / name, [TOYS, OTHERS])
    assert str(problem).startswith(f"{tmp_path}/{name}: {wanted}: correct FERRYMAN_RULES_DIR")
    for load_it in (lambda: load(tmp_path / name, TOYS), lambda: load_all(tmp_path / name, [TOYS])):
        with pytest.raises(WrongRules):
            load_it()


def test_all_problems_are_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "toys.toml").write_text("a = 1\nb = 2\n")
    (tmp_path / "others.toml").write_text("")
    with pytest.raises(WrongRules, match="3 problems in the rules:") as caught:
        load_all(tmp_path, [TOYS, OTHERS])
    assert str(caught.value).count("\n") == 3
    assert str(WrongRules([Problem("f", None, "", "is wrong")])) == "1 problem in the rules:\n  f: is wrong"


PIECES: Final = ["[[rules]]", "[rules]", 'kind = "a"', "size = 3", '"""', *"\n\r=[]\"'#x."]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_any_bytes_are_a_model_or_a_list_of_problems(tmp_path: Path, content: bytes | str) -> None:
    assert all(re.match(r"toys\.toml(:[0-9]+)?: \S", line) and line.isprintable() for line in told(tmp_path, content))


VALUES: Final = st.sampled_from(
    ["1", '"#["', "'[\"'", '"""\n[x]\n"#"""', "'''\n] '\n'''", "[\n1, # ]\n[2]\n]", "{ a = [\n1] }", '""', "1979-05-27"]
)
BETWEEN: Final = st.lists(st.sampled_from(["", '# [ ] """ \'', "  "]), max_size=2)


@settings(deadline=None)
@given(st.lists(st.tuples(BETWEEN, VALUES), min_size=1, max_size=12))
def test_the_line_of_a_key_is_the_one_that_it_stands_on(statements: list[tuple[list[str], str]]) -> None:
    lines: list[str] = []
    wanted = []
    for number, (before, value) in enumerate(statements):
        lines += before
        if number % 3 == 2:
            lines.append("[[t]]")
        wanted.append(len(lines) + 1)
        lines += f"k{number} = {value}".split("\n")
    found = Lines("\n".join(lines))
    for number, line in enumerate(wanted):
        path = (f"k{number}",) if number < 2 else ("t", (number - 2) // 3, f"k{number}")
        assert found.of(path) == line
        assert found.of((*path, "nothing")) == line
