"""Documents of jobs have a part for what only fine-tuning jobs have.

Older documents stay as they are, and can be read. Programs that do not know the part would read jobs without it, and
must therefore refuse the database.
"""

from __future__ import annotations

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """No table changes."""
