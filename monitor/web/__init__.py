"""The HTTP server: status page, job pages, JSON API, event stream, /metrics, health checks and webhooks."""

from __future__ import annotations

from monitor.web.access import AccessControl, AccessRules
from monitor.web.admin import AdminActions
from monitor.web.app import ReaderLimits, Web, application
from monitor.web.server import serve
from monitor.web.webhooks import Receiver, Webhooks

__all__ = [
    "AccessControl",
    "AccessRules",
    "AdminActions",
    "ReaderLimits",
    "Receiver",
    "Web",
    "Webhooks",
    "application",
    "serve",
]
