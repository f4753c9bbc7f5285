"""What the program shows over HTTP: /metrics, the status page, the JSON API, health."""

from __future__ import annotations

from monitor.web.access import Access, AccessControl
from monitor.web.admin import AdminActions
from monitor.web.app import Limits, Web, application
from monitor.web.server import serve

__all__ = ["Access", "AccessControl", "AdminActions", "Limits", "Web", "application", "serve"]
