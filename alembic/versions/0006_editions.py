"""editions"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "edition",
        sa.Column("name", sa.Text(), nullable=False, comment="the ISO week, 2026-W41"),
        sa.Column("closed_ts", sa.BigInteger(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.Column("markdown", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_edition")),
        comment="a week's boards, frozen as they were rendered",
    )


def downgrade() -> None:
    op.drop_table("edition")
