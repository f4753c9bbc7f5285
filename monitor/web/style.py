"""The templates, style sheet and script of the pages, and the Content-Security-Policy that allows only these."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from monitor import __version__

if TYPE_CHECKING:
    import jinja2


def _file(name: str) -> str:
    return resources.files("monitor.web").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE: Final = _file("page.css")
_SCRIPT: Final = _file("page.js")
POLICY: Final = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; connect-src 'self'; "
    "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Digests allow exactly our style and script; a nonce would allow any element that contains it."""


def render_template(template: str, shown: dict[str, Any], *, fragment: bool) -> bytes:
    """Render a page as UTF-8. A fragment has only the title and the content, without style and script."""
    text = _templates().get_template(template).render(**shown, fragment=fragment)
    return text.encode("utf-8", "replace")


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    """Created when first needed. Each template is compiled once."""
    import jinja2  # noqa: PLC0415 - 2 MB that only the status page needs
    from markupsafe import Markup  # noqa: PLC0415 - as above

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("monitor.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        version=__version__,
        style=Markup(_STYLE),  # noqa: S704 - our own file; CSP names its digest
        script=Markup(_SCRIPT),  # noqa: S704 - as above
    )
    return environment
