"""What is written to Chatwoot reaches the person as it was written: through Liquid, and Markdown, to WhatsApp."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from adapters.chatwoot.wording import literal, stored, written
from daemon.sandbox.chatwoot_account import Contact
from daemon.sandbox.chatwoot_liquid import liquid

NOA: Final = Contact(id=1, name="Noa")
PARSER: Final = MarkdownIt("commonmark")
GAP: Final = re.compile(r"\n{2,}")
KEPT_GAP: Final = re.compile(r"\{\{PRESERVE_(\d+)_NEWLINES\}\}")

ODD: Final = st.text(st.sampled_from("ab1 2.)*_`~#>+-=\\[](:)!<>&;{%}'|\n"), max_size=30)
PARTS: Final = """
Hello|*bold*|_so_|~no~|```x```|- a|* b|+ c|1. d|2. e|7. Mai|2) f|> q|# h|---|===|***|___|5 * 3|a_b_c|__x__|**y**|<b>
<https://a.example>|[a](b)|[a]: /b|&amp;|\\*|https://a.example/?x=1&copy=2_3|C:\\a|2*3*4|(*x*)|*a b*,|`{{x}}`|{{a}}
""".strip()
TEXTS: Final = st.lists(
    st.tuples(st.sampled_from(re.split(r"[|\n]", PARTS)), st.sampled_from([" ", "\n", "\n\n"])), max_size=8
).map(lambda parts: "".join(part + joint for part, joint in parts).strip())


def delivered(text: str) -> str:
    """What Chatwoot v4.16 sends for the text of a message: markdown_renderer_service.rb and whats_app_renderer.rb."""
    kept = GAP.sub(lambda gap: f"{{{{PRESERVE_{len(gap[0])}_NEWLINES}}}}", re.sub(r"^[ \t]+$", "", text, flags=re.M))
    shown = "".join(_rendered(PARSER.parse(kept))).rstrip("\n")
    return KEPT_GAP.sub(lambda gap: "\n" * int(gap[1]), shown)


def _rendered(tokens: list[Token]) -> Iterator[str]:
    numbers: list[int | None] = []
    for token in tokens:
        match token.type:
            case "inline":
                yield from _inline(token.children or [])
                yield "\n"
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_open":
                numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                numbers.pop()
            case "list_item_open":
                number = numbers[-1]
                yield "- " if number is None else f"{number}. "
                numbers[-1] = None if number is None else number + 1
            case "blockquote_open":
                yield "> "
            case "code_block" | "fence":
                yield token.content


def _inline(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "text" | "text_special":
                yield token.content
            case "softbreak" | "hardbreak":
                yield "\n"
            case "strong_open" | "strong_close":
                yield "*"
            case "em_open" | "em_close":
                yield "_"
            case "code_inline":
                yield f"`{token.content}`"
            case "link_open":
                yield str(token.attrs["href"])


def bare(text: str) -> str:
    """*text* without what no rendering keeps: blanks around lines, and lines around the text."""
    return "\n".join(line.strip() for line in text.splitlines()).strip("\n")


@pytest.mark.parametrize(
    "text",
    [
        "Your visa is ready",
        "Thank you, Noa!\n\nBring:\n- passport\n- photo\n\nSee you (at 9:30).",
        "1. Come\n2. Pay\n3. Go",
        "_so_ it is, order IL210214_TH-1001 at https://a.example/?x=1&y=a_b",
        "5 * 3 = 15, 50% of {1}",
        "שלום 😀",
    ],
)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert written(text) == text
    assert delivered(written(text)) == text


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("*Paid*, thank you", "**Paid**, thank you"),
        ("It is *very good*.", "It is **very good**."),
        ("2*3*4", r"2\*3\*4"),
        ("3. Mai\n5. Mai", "3\\. Mai\n5\\. Mai"),
        ("Sum\n---", "Sum\n\\---"),
        ("# 12", r"\# 12"),
        ("> so", r"\> so"),
        ("a <b> c", r"a \<b> c"),
        ("{{contact.name}}", "{{'{'}}{contact.name}}"),
        ("\u202eHi\x07", "Hi"),
    ],
)
def test_what_would_be_changed_on_the_way_is_written_otherwise(text: str, sent: str) -> None:
    assert written(text) == sent


@given(TEXTS | ODD)
@example("`{{x}}` *a*")
@example("7. Mai\n8. Mai")
@example("1. a\n3. b")
@example("a\n===\n- b\n  - c")
def test_a_text_of_whatsapp_s_notation_arrives_as_it_was_written(text: str) -> None:
    assert bare(delivered(liquid(written(text), NOA, code=True))) == bare(text)


@given(ODD)
def test_any_text_is_the_same_after_liquid(text: str) -> None:
    assert liquid(stored(text), NOA, code=True) == text
    assert liquid(literal(text), NOA) == text
