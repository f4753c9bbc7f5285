"""Text from outside, made harmless: what stays, what goes, and where it is cut."""

from __future__ import annotations

import pytest

from monitor.domain.text import clean, line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain ~ text!", "plain ~ text!", id="all of printable ASCII"),
        pytest.param("naïve 日本 😀", "naïve 日本 😀", id="any script"),
        pytest.param("👩\u200d👧 می\u200cخواهم", "👩\u200d👧 می\u200cخواهم", id="joiners, which words are spelt with"),
        pytest.param("a\tb", "a b", id="a tabulator is a space"),
        pytest.param("a\r\nb", "a\n\nb", id="both halves of a break"),
        pytest.param("a\x0bb\x0cc\x85d\u2028e\u2029f", "a\nb\nc\nd\ne\nf", id="breaks of every kind"),
        pytest.param("\x1b[31mred\x00\x7f", "[31mred", id="controls"),
        pytest.param("a\u202eb\u2066c\u200bd\ufeff", "abcd", id="what is invisible or turns the direction"),
        pytest.param("a\ud800b\ue000c\U0010ffffd", "abcd", id="no character at all"),
        pytest.param("  edges \n", "edges", id="edges"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_steers_or_hides_is_left_out(text: str, expected: str) -> None:
    assert clean(text, 80) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        pytest.param("abcde", 5, "abcde", id="what fits is whole"),
        pytest.param("abcdef", 5, "abcd…", id="one too many, and the dots count"),
        pytest.param("abc  defgh", 6, "abc…", id="no space before the dots"),
        pytest.param("ab" + "\x00" * 18, 5, "ab", id="what is left out takes no room, within four times the limit"),
        pytest.param("ab" + "\x00" * 19, 5, "ab…", id="beyond that nobody looks, and it says so"),
        pytest.param("\x00" * 20 + "ab", 5, "…", id="nothing to be seen in the part that is looked at"),
    ],
)
def test_it_is_cut_at_the_limit(text: str, limit: int, expected: str) -> None:
    assert clean(text, limit) == expected


def test_a_line_has_no_breaks_and_single_spaces() -> None:
    assert line(" a \r\n\t b\u2028c ", 80) == "a b c"
    assert line("a\nbcdef", 5) == "a bc…"
