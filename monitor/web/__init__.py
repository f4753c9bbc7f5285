"""What the program shows over HTTP: /metrics, the status page, the JSON API, health. Read only."""

from __future__ import annotations

from monitor.web.app import Limits, Web, application
from monitor.web.server import serve

__all__ = ["Limits", "Web", "application", "serve"]
