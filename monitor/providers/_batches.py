"""What batches of all vendors share: why one expired."""

from __future__ import annotations

from typing import Final

from monitor.domain.model import FailureClass, JobError

EXPIRED: Final = JobError(
    code="expired",
    message="The batch expired before all its requests were answered.",
    failure=FailureClass.PROVIDER,
    hint=(
        "Requests that were answered are in its output file and are charged. Submit the others again in a new batch; "
        "use smaller batches if this happens often."
    ),
)
"""The error of a batch that expired before all its requests were answered."""
