"""HTTP for any provider: one look at an organisation's jobs and events, within bounds, as a value."""

from monitor.source.files import training_size
from monitor.source.observing import Source
from monitor.source.transport import Limits, session

__all__ = ["Limits", "Source", "session", "training_size"]
