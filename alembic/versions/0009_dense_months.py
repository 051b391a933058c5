"""Months in a form that is faster to add up: they are counted anew"""

from collections.abc import Sequence

from alembic import op

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("DELETE FROM month")


def downgrade() -> None:
    op.execute("DELETE FROM month")
