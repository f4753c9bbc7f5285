"""Templates: what they write, what is refused at the start, and what they may cost."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config.templates import TemplateSource, problem
from monitor.domain.news import EventType, TemplateFailure
from monitor.domain.samples import samples
from monitor.domain.templates import MessageTemplate, TemplateFailed, apply_template, variables
from tests.config.conftest import ORGANIZATION, Folder

OUT = ORGANIZATION + "notifiers: [{name: out, type: console}]\n"
FULL = next(samples(EventType.FAILED))


def template(**parts: str) -> MessageTemplate:
    return MessageTemplate(
        name="short", **{part: TemplateSource(text=text, is_json=part == "body") for part, text in parts.items()}
    )


def test_a_template_writes_title_text_and_the_body_of_a_webhook() -> None:
    told = apply_template(
        template(
            title="{{ job.name or job.id }} {{ event }}",
            text="{{ facts.Model }}: {{ error }}\n{{ hint }}",
            body='{"text": {{ title }}, "org": {{ org }}, "tokens": {{ job.trained_tokens }}}',
        ),
        FULL,
    )
    assert told.title == "sample failed"
    assert (told.hint or "").startswith("gpt-4o-mini-2024-07-18: server_error: ")
    assert (told.facts, told.error) == ((), None)
    assert json.loads(told.body or "") == {"text": "sample failed", "org": "research", "tokens": 300_000}
    assert (told.data, told.subject, told.template_failure) == (FULL.data, FULL.subject, None)


def test_what_is_not_given_stays_as_it_is_built_in() -> None:
    told = apply_template(template(title="x"), FULL)
    assert replace(told, title=FULL.title) == FULL


def test_where_a_template_fails_the_built_in_words_stand_in_and_it_is_known_why() -> None:
    told = apply_template(template(title="fine", text="{{ job.nothing.at_all }}"), FULL)
    assert replace(told, template_failure=None) == FULL
    assert told.template_failure == TemplateFailure(
        template="short", reason="line 1: undefined value: `job.nothing` is undefined"
    )


def test_what_comes_from_outside_is_a_value_and_never_a_template() -> None:
    hostile = replace(FULL, error="{{ 7 * 7 }}{% for i in range(9) %}")
    told = apply_template(template(text="{{ error }}"), hostile)
    assert told.hint == "{{ 7 * 7 }}{% for i in range(9) %}"


@settings(max_examples=40)
@given(st.text())
def test_no_text_breaks_out_of_a_body(text: str) -> None:
    told = apply_template(template(body='{"text": {{ error }}, "more": [{{ error }}]}'), replace(FULL, error=text))
    shown = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if told.template_failure else text
    assert told.template_failure is None
    assert json.loads(told.body or "") == {"text": shown, "more": [shown]}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}", id="loops"),
        pytest.param("{% for i in range(10 ** 9) %}x{% endfor %}", id="a long loop"),
        pytest.param("{{ 'a' * 10 ** 9 }}", id="a long text"),
        pytest.param("{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}"
            "{% endfor %}{{ ns.x }}", id="doubling"),
        pytest.param("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(1) }}", id="recursion"),
        pytest.param("{{ 'a'|indent(10 ** 9, true) }}", id="a filter"),
        pytest.param("{{ '%999999999d'|format(1) }}", id="a format"),
        pytest.param("{% include '/etc/passwd' %}", id="a file"),
        pytest.param("{{ ''.__class__ }}", id="the insides of Python"),
        pytest.param("{{ error.__class__.__mro__ }}", id="the same of a value"),
        pytest.param("   {# nothing #}", id="an empty text"),
    ],
)  # fmt: skip
def test_time_and_size_are_bounded_and_nothing_but_values_is_seen(text: str) -> None:
    began = time.process_time()
    with pytest.raises(TemplateFailed):
        TemplateSource(text=text)(variables(FULL))
    assert time.process_time() - began < 2.0


def test_several_threads_may_write_at_once() -> None:
    found: list[str] = []
    known = variables(FULL)
    work = [threading.Thread(target=lambda: found.append(TemplateSource(text="{{ title }}")(known))) for _ in range(8)]
    for one in work:
        one.start()
    for one in work:
        one.join()
    assert found == [FULL.title] * 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ job.run_seconds|duration }}", "1h"),
        ("{{ job.queue_seconds|duration }}", "1h"),
        ("{{ job.trained_tokens }}", "300000"),
        ("{{ none|duration }}.", "."),
        ("{{ '%.2f'|format(2.5) }}", "2.50"),
        ("{{ labels.team }} {{ severity }} {{ at }}", "search bad 2026-01-01T12:00:00Z"),
        ("{% if job.error.retryable %}again{% else %}no{% endif %}", "again"),
    ],
)
def test_what_a_template_may_use(text: str, expected: str) -> None:
    assert TemplateSource(text=text)(variables(FULL)) == expected


@pytest.mark.parametrize("event", [*EventType])
def test_every_event_has_samples_in_its_own_words(event: EventType) -> None:
    found = [*samples(event)]
    assert found
    assert {one.event_type for one in found} == {event}
    assert problem(TemplateSource(text="{{ title }} {{ event }} {{ facts }}"), found) is None


def test_a_route_says_it_in_the_words_of_its_template(folder: Folder) -> None:
    folder.write(
        OUT + "templates: {short: {title: '{{ job.id }} {{ event }}'}}\nroutes: [{notify: out, template: short}]\n"
    )
    (rule,) = folder.load().rules
    assert rule.template == template(title="{{ job.id }} {{ event }}")


@pytest.mark.parametrize(
    ("route", "parts", "expected"),
    [
        pytest.param("", "{}", "needs a title, a text or a body", id="nothing"),
        pytest.param("", "{title: '{% if %}'}", "line 1: syntax error: unexpected end of block", id="a syntax error"),
        pytest.param(", on: [failed, org_down]", "{title: '{{ job.id }}'}",
            "a.title: cannot be rendered for org_down: line 1: undefined value: ", id="an event that has no job"),
        pytest.param(", on: failed", "{title: '{{ job.name.upper() }}'}",
            "a.title: cannot be rendered for failed: line 1: ", id="a job without a name"),
        pytest.param(", on: failed", "{body: '{\"text\": \"{{ title }}\"}'}",
            "a.body: cannot be rendered for failed: the result is not valid JSON: ", id="quotes around quotes"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_refused_at_the_start(
    folder: Folder, route: str, parts: str, expected: str
) -> None:
    folder.write(OUT + f"templates: {{a: {parts}}}\nroutes: [{{notify: out, template: a{route}}}]\n")
    assert expected in "\n".join(folder.problems())


def test_a_route_names_a_template_that_there_is(folder: Folder) -> None:
    folder.write(OUT + "templates: {short: {title: x}}\nroutes: [{notify: out, template: shrt}]\n")
    assert 'routes.0.template: no template has this name; did you mean "short"?' in "\n".join(folder.problems())


def test_a_template_that_no_route_uses_is_tried_with_every_event_and_warned_of(folder: Folder) -> None:
    folder.write(OUT + "templates: {a: {title: '{{ title }}!'}}\nroutes: [{notify: out}]\n")
    assert "no route uses this template" in "\n".join(folder.warnings())
    assert (
        problem(TemplateSource(text="{{ job.id }}"), [one for event in EventType for one in samples(event)]) is not None
    )
