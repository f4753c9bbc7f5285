"""What the program shows over HTTP: /metrics, the status page, the JSON API, health."""

from __future__ import annotations

from monitor.web.app import Limits, Web, application
from monitor.web.door import Access, Door
from monitor.web.lifecycle import Lifecycle
from monitor.web.server import serve

__all__ = ["Access", "Door", "Lifecycle", "Limits", "Web", "application", "serve"]
