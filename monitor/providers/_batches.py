"""What is the same of batches at all vendors: how many requests are done, and that time may run out."""

from __future__ import annotations

from typing import Final

from monitor.domain.model import FailureClass, JobError

EXPIRED: Final = JobError(
    code="expired",
    message="The batch was not worked through before it expired.",
    failure=FailureClass.PROVIDER,
    hint=(
        "What was answered by then is in its output and is charged: submit the other requests again in a new batch, "
        "in smaller ones if it happens often."
    ),
)
"""Why a batch failed whose time ran out."""
REFUSED: Final = "Correct the input file, upload it again and create a new batch."
"""What to do about a batch whose input its vendor refused."""
