"""Checks between the parts of a configuration, such as references to names and duplicate names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from monitor.config.credentials import known_secrets
from monitor.config.problems import Issue, Loc, nearest
from monitor.config.sections import Section
from monitor.config.templates import TemplateSource, problem
from monitor.domain.news import EventType
from monitor.domain.routing import DEFAULT_ON
from monitor.domain.samples import samples
from monitor.providers import SELECTING, canonical

_ON_CARDS: Final = {EventType.PROGRESS, EventType.STALLED, EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED}
"""The event types that a card may show, whatever its route is on."""
_PARTS: Final = ("title", "text", "body")  # the parts of a template
_KEYS: Final = ("api_key", "access_key_id")  # settings that identify an account
_RESOURCE: Final = re.compile(
    r"https://(?P<name>[a-z0-9-]+)\.(?:openai|services\.ai|cognitiveservices)\.azure\.com\.?(?::443)?"
    r"(?:/+api/+projects/+(?P<project>[^/?#]+))?(?:[/?#]|$)",
    re.IGNORECASE,
)
"""The address of an Azure resource, or of a Foundry project in it. All three hosts are the same resource."""
_PRIVATE: Final = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".svc", ".test", ".private")


def crosscheck(tree: Mapping[str, Any], sections: Iterable[Section]) -> Iterator[Issue]:
    """The problems between parts of a configuration.

    The tree may be invalid, so that these problems are reported together with those of validation.
    """
    for key in ("organizations", "notifiers", "budgets", "routes", "digests"):
        yield from _duplicate_names(tree, key)
    for key in ("organizations", "notifiers", "budgets"):
        yield from _former_names(tree, key)
    yield from _digests(tree)
    yield from _routes(tree)
    yield from _templates(tree)
    yield from _matches(tree, "routes")
    yield from _matches(tree, "budgets")
    yield from _matches(tree, "digests")
    yield from _unused_notifiers(tree)
    yield from _unrouted_budgets(tree)
    yield from _unseen_progress(tree)
    yield from _no_other_notifier(tree)
    organizations = [section for section in sections if section.loc[:1] == ("organizations",) and len(section.loc) == 2]
    yield from _same_account(organizations)
    yield from _same_bill(organizations)
    yield from _same_hosting(organizations)
    yield from _plain_http(tree)
    yield from _unchecked_connections(tree)


def _duplicate_names(tree: Mapping[str, Any], key: str) -> Iterator[Issue]:
    first: dict[str, int] = {}
    for loc, name in _named(tree, key):
        if name in first:
            yield Issue(loc, f"this name is taken by {key}.{first[name]}")
        first.setdefault(name, int(loc[1]))


def _former_names(tree: Mapping[str, Any], key: str) -> Iterator[Issue]:
    """Former names that are also the present or former name of another entry."""
    taken = {name: loc[1] for loc, name in _named(tree, key)}
    for at, item in enumerate(_items(tree, key)):
        for loc, name in _texts_at(item.get("was") if isinstance(item, dict) else None, (key, at, "was")):
            if name in taken:
                yield Issue(loc, f"this name is taken by {key}.{taken[name]}")
            taken.setdefault(name, at)


def _routes(tree: Mapping[str, Any]) -> Iterator[Issue]:
    notifiers = {name for _, name in _named(tree, "notifiers")}
    for at, route in enumerate(_items(tree, "routes")):
        if isinstance(route, dict):
            yield from _unknown(route.get("notify"), ("routes", at, "notify"), notifiers, "no notifier has this name")
            mutes = tree.get("mute_times")
            known = {name for name in mutes if isinstance(name, str)} if isinstance(mutes, dict) else set()
            yield from _unknown(route.get("mute"), ("routes", at, "mute"), known, "no mute time has this name")
            templates = tree.get("templates")
            named = {name for name in templates if isinstance(name, str)} if isinstance(templates, dict) else set()
            yield from _unknown(route.get("template"), ("routes", at, "template"), named, "no template has this name")
            yield from _allowed(tree, route.get("notify_from"), ("routes", at, "notify_from", "allow"), notifiers)


def _templates(tree: Mapping[str, Any]) -> Iterator[Issue]:
    """Templates that cannot be rendered with sample messages of each event type of their routes, or that are unused."""
    templates = tree.get("templates")
    for name, parts in templates.items() if isinstance(templates, dict) else ():
        routes = [route for route in _mappings(tree, "routes") if route.get("template") == name]
        events = {word for route in routes for word in _words(route.get("on") or [*DEFAULT_ON])}
        if any(_leads_to_cards(tree, route) for route in routes):
            events |= _ON_CARDS
        messages = [one for event in EventType if not routes or event in events for one in samples(event)]
        for part, text in parts.items() if isinstance(parts, dict) else ():
            if part in _PARTS and _is_text(text):
                failure = problem(TemplateSource(text=text, is_json=part == "body"), messages)
                if failure is not None:
                    yield Issue(("templates", name, part), failure)
        if not routes:
            yield Issue(("templates", name), "no route uses this template", warning=True)


def _digests(tree: Mapping[str, Any]) -> Iterator[Issue]:
    notifiers = {name for _, name in _named(tree, "notifiers")}
    for at, digest in enumerate(_items(tree, "digests")):
        if isinstance(digest, dict):
            yield from _unknown(digest.get("notify"), ("digests", at, "notify"), notifiers, "no notifier has this name")


def _allowed(tree: Mapping[str, Any], notify_from: object, loc: Loc, notifiers: set[str]) -> Iterator[Issue]:
    """Entries of `allow` that are neither the name of a notifier nor channels that a notifier can post to."""
    bots = _bots(tree)
    for where, word in _texts_at(notify_from.get("allow") if isinstance(notify_from, dict) else None, loc):
        prefix, colon, pattern = word.partition(":")
        if not colon and word not in notifiers:
            yield Issue(where, "no notifier has this name" + nearest(word, notifiers))
        elif colon and not pattern.startswith("#"):
            yield Issue(where, f"should be {prefix}:#CHANNEL, where * matches any characters")
        elif colon and prefix not in bots and (prefix != "slack" or len(bots) != 1):
            text = "should begin with the name of a Slack notifier with a token, or with slack if there is only one"
            yield Issue(where, text)


def _bots(tree: Mapping[str, Any]) -> list[str]:
    """The notifiers that can post to any channel."""
    return [one["name"] for one in _mappings(tree, "notifiers")
            if one.get("type") == "slack" and "channel" in one and _is_text(one.get("name"))]  # fmt: skip


def _matches(tree: Mapping[str, Any], key: str) -> Iterator[Issue]:
    orgs = {name for _, name in _named(tree, "organizations")}
    providers = {item["provider"] for item in _mappings(tree, "organizations") if _is_text(item.get("provider"))}
    for at, item in enumerate(_items(tree, key)):
        match, loc = item.get("match") if isinstance(item, dict) else None, (key, at, "match")
        if isinstance(match, dict):
            yield from _unknown(match.get("org"), (*loc, "org"), orgs, "no organisation has this name")
            yield from _unknown(
                match.get("provider"), (*loc, "provider"), providers, "no organisation has this provider"
            )


def _unknown(names: object, loc: Loc, known: set[str], text: str) -> Iterator[Issue]:
    for where, name in _texts_at(names, loc):
        if name not in known:
            yield Issue(where, text + nearest(name, known))


def _texts_at(words: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """The non-empty texts of a list, or a single text in place of a list, with their locations."""
    listed = [((*loc, at), word) for at, word in enumerate(words)] if isinstance(words, list) else [(loc, words)]
    yield from ((where, word) for where, word in listed if isinstance(word, str) and word)


def _unused_notifiers(tree: Mapping[str, Any]) -> Iterator[Issue]:
    routes = _mappings(tree, "routes")
    used = {name for one in (*routes, *_mappings(tree, "digests")) for name in _words(one.get("notify"))}
    for allowed in (route["notify_from"] for route in routes if isinstance(route.get("notify_from"), dict)):
        used.update(bot for word in _words(allowed.get("allow")) for bot in (word, *_bots(tree) * (":" in word)))
    for loc, name in _named(tree, "notifiers"):
        if name not in used:
            yield Issue(loc, "no route leads to this notifier", warning=True)


def _unseen_progress(tree: Mapping[str, Any]) -> Iterator[Issue]:
    """Routes on `progress` without a notifier that keeps cards."""
    for at, route in enumerate(_items(tree, "routes")):
        if not isinstance(route, dict) or "progress" not in _words(route.get("on")):
            continue
        if not isinstance(route.get("notify_from"), dict) and not _leads_to_cards(tree, route):
            text = "only cards show progress, and no notifier of this route keeps cards"
            yield Issue(("routes", at, "on"), text, warning=True)


def _leads_to_cards(tree: Mapping[str, Any], route: Mapping[str, Any]) -> bool:
    keeping = {name for one in _mappings(tree, "notifiers") if _keeps_cards(one) for name in _words(one.get("name"))}
    named = route.get("notify_from")
    allowed = _words(named.get("allow")) if isinstance(named, dict) else []
    return any(word in keeping or ":" in word for word in (*_words(route.get("notify")), *allowed))


def _no_other_notifier(tree: Mapping[str, Any]) -> Iterator[Issue]:
    """Routes by which nobody would learn that a notifier is down."""
    routes = [route for route in _mappings(tree, "routes") if "notifier_down" in _words(route.get("on"))]
    for at, route in enumerate(_items(tree, "routes")):
        if route in routes and route.get("match"):
            text = "notifiers belong to no organisation: a route with `match` gets no notifier_down"
            yield Issue(("routes", at, "match"), text, warning=True)
        elif route in routes and len({name for one in routes for name in _words(one.get("notify"))}) == 1:
            text = "only one notifier gets notifier_down: if that one is down, nobody is notified"
            yield Issue(("routes", at, "notify"), text, warning=True)


def _keeps_cards(notifier: Mapping[str, Any]) -> bool:
    edits = notifier.get("type") == "discord" or (notifier.get("type") == "slack" and "channel" in notifier)
    return edits and notifier.get("mode", "card") == "card"


def _unrouted_budgets(tree: Mapping[str, Any]) -> Iterator[Issue]:
    if not any("budget" in _words(route.get("on")) for route in _mappings(tree, "routes")):
        for loc, _ in _named(tree, "budgets"):
            yield Issue(loc, "no route has budget in its `on`: nobody is notified of it", warning=True)


def _same_account(organizations: Sequence[Section]) -> Iterator[Issue]:
    """Organisations with the same account, whose jobs would be counted and announced twice.

    That is the same key at the same address, or an address that names the same jobs, whatever the key is.
    """
    by_key: dict[tuple[object, ...], Loc] = {}
    by_address: dict[tuple[object, ...], Loc] = {}
    for section in organizations:
        where = _account(section)
        keys = {key for name in _KEYS if name in section.model.model_fields for key in known_secrets(section, name)}
        if (earlier := _earlier(by_key, section, [(key, *where) for key in sorted(keys)])) is not None:
            yield Issue(section.loc, f"has the same key, address and project as organizations.{earlier[1]}")
        elif (earlier := _earlier(by_address, section, _resources(section))) is not None:
            yield Issue(section.loc, f"lists the same jobs as organizations.{earlier[1]}, whatever its key is")


def _earlier(first: dict[tuple[object, ...], Loc], section: Section, found: Iterable[tuple[object, ...]]) -> Loc | None:
    """The first section that had one of these; `first` learns them."""
    earlier = [loc for one in found if (loc := first.setdefault(one, section.loc)) != section.loc]
    return earlier[0] if earlier else None


def _resources(section: Section) -> Iterator[tuple[object, ...]]:
    """What the addresses of an organisation name at vendors where that alone decides which jobs are listed."""
    node, provider = section.node, section.node.get("provider")
    if provider == "azure":
        address = node.get("endpoint", node.get("base_url"))
        found = _RESOURCE.match(address) if isinstance(address, str) else None
        if found is not None:
            yield "azure", found["name"].lower(), found["project"] or ""
    elif node.get("base_url") is not None:  # a gateway may decide by the key
        return
    elif provider == "fireworks":
        yield "fireworks", _setting(section, "account")
    elif provider == "vertex" and isinstance(node.get("locations"), list):
        project = _setting(section, "project")
        yield from ((provider, project, str(location)) for location in dict.fromkeys(map(str, node["locations"])))


def _same_bill(organizations: Sequence[Section]) -> Iterator[Issue]:
    """Organisations with the same admin key, whose costs would be counted twice.

    An admin key reads the bill of all projects unless `project` names one.
    """
    seen: list[tuple[str, object, object, Loc]] = []
    for section in organizations:
        if "admin_key" not in section.model.model_fields:
            continue
        account, project = (_address(section), _setting(section, "organization")), _setting(section, "project")
        for key in known_secrets(section, "admin_key"):
            for other, theirs, named, loc in seen:
                if (other, theirs) == (key, account) and (project == named or "None" in (project, named)):
                    text = (
                        f"has the same admin key as organizations.{loc[1]}: the bill and the usage would be counted "
                        "twice; name the `project` of each, or give the admin key to one of them"
                    )
                    yield Issue((*section.loc, "admin_key"), text)
                    break
            seen.append((key, account, project, section.loc))


def _same_hosting(organizations: Sequence[Section]) -> Iterator[Issue]:
    """The deployments of one resource are those of one organisation alone: two would count their hosting twice."""
    seen: dict[tuple[str, ...], Loc] = {}
    for section in organizations:
        hosting = section.node.get("hosting")
        if isinstance(hosting, dict):
            parts = (hosting.get(name) for name in ("subscription_id", "resource_group", "account"))
            key = tuple(str(part).lower() for part in parts)
            if key in seen:
                text = f"is the same resource as that of organizations.{seen[key][1]}: its hosting would count twice"
                yield Issue((*section.loc, "hosting"), text)
            seen.setdefault(key, section.loc)


def _account(section: Section) -> tuple[object, ...]:
    """The properties that identify an account besides its key."""
    named = (_setting(section, name) for name in SELECTING)
    return (section.node.get("provider"), _address(section), *named)


def _address(section: Section) -> object:
    """The normalised base URL. For Azure it is the host, because a resource has several URLs for the same jobs."""
    address = _setting(section, "base_url")
    if section.node.get("provider") == "azure":
        endpoint = section.node.get("endpoint")
        address = endpoint if isinstance(endpoint, str) else address
    try:
        found = canonical(str(address))
        return urlsplit(found).netloc if section.node.get("provider") == "azure" else found
    except (ValueError, KeyError):  # not a URL, which validation reports
        return address


def _setting(section: Section, name: str) -> object:
    field = section.model.model_fields.get(name)
    value = section.node.get(name, field.default if field else None)
    return value if isinstance(value, str) else repr(value)


def _plain_http(tree: Mapping[str, Any]) -> Iterator[Issue]:
    for at, organization in enumerate(_items(tree, "organizations")):
        for key in ("base_url", "endpoint"):
            if isinstance(organization, dict) and _is_public_http(organization.get(key)):
                yield Issue(("organizations", at, key), "plain http would show the key to the network; use https")
    for at, notifier in enumerate(_items(tree, "notifiers")):
        for key in ("url", "webhook_url", "api_url"):
            if isinstance(notifier, dict) and _is_public_http(notifier.get(key)):
                text = "plain http is only used if the host resolves to a private address; use https"
                yield Issue(("notifiers", at, key), text, warning=True)


def _unchecked_connections(tree: Mapping[str, Any]) -> Iterator[Issue]:
    """Notifiers whose connections `outbound.public_only` cannot check, if it is set."""
    outbound = tree.get("outbound")
    if not isinstance(outbound, dict) or outbound.get("public_only") is not True:
        return
    for at, notifier in enumerate(_items(tree, "notifiers")):
        if isinstance(notifier, dict) and notifier.get("type") == "apprise":
            yield Issue(
                ("notifiers", at, "type"), "apprise makes its own connections, which outbound.public_only cannot check"
            )


def _is_public_http(url: object) -> bool:
    """Whether a URL is plain http to a host that is not private by its name or address."""
    if not isinstance(url, str) or not url.lower().startswith("http:"):
        return False
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:  # not a URL, which validation reports
        return False
    try:
        return ip_address(host).is_global
    except ValueError:  # a host name
        return "." in host and not host.endswith(_PRIVATE) and ".svc." not in host


def _named(tree: Mapping[str, Any], key: str) -> Iterator[tuple[Loc, str]]:
    for at, item in enumerate(_items(tree, key)):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            yield (key, at, "name"), item["name"]


def _mappings(tree: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [item for item in _items(tree, key) if isinstance(item, dict)]


def _items(tree: Mapping[str, Any], key: str) -> list[Any]:
    value = tree.get(key)
    return value if isinstance(value, list) else []


def _words(value: object) -> list[str]:
    return [word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
