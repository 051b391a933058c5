"""How many rounds of ours measured nothing, by why"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "void_round",
        sa.Column("vantage", sa.Text(), nullable=False, comment="its name"),
        sa.Column("reason", sa.Text(), nullable=False, comment="model.VoidReason"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("vantage", "reason", name=op.f("pk_void_round")),
        comment="rounds of ours that measured nothing, so that an operator can see why",
    )


def downgrade() -> None:
    op.drop_table("void_round")
