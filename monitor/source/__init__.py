"""HTTP for any provider: one poll of an organisation's jobs and events, within bounds, as a value."""

from monitor.source.client import Client
from monitor.source.files import training_size
from monitor.source.jobs import Source
from monitor.source.transport import Limits, Transport, transport

__all__ = ["Client", "Limits", "Source", "Transport", "training_size", "transport"]
