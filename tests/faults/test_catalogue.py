"""README.md equals the tests' marks, and every code of the catalogue has a test or a reason."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import ALSO, CATALOGUE, README, marked, readme

CODES = {code for codes in CATALOGUE.values() for code in codes}


def test_the_page_is_that_of_the_marks() -> None:
    assert README.read_text(encoding="utf-8") == readme(), "python -m tests.faults.catalogue writes it"


def test_every_code_has_a_test_and_every_mark_a_code() -> None:
    tests = marked()
    assert tests.keys() - CODES == set()
    assert CODES - tests.keys() - ALSO.keys() == set()


def test_the_mark_is_one_that_pytest_knows(pytestconfig: pytest.Config) -> None:
    assert any(line.startswith("fault(*codes)") for line in pytestconfig.getini("markers"))
