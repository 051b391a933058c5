"""pingstat"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

DAYS_OFF = sa.text("abs(delay_ms - lag_ms) > 86400000")


def upgrade() -> None:
    op.add_column(
        "sample",
        sa.Column(
            "position",
            sa.BigInteger(),
            nullable=True,
            comment="of an imported one: its place in what was imported",
        ),
    )
    op.create_index(
        "ix_sample_days_off",
        "sample",
        ["ping"],
        unique=False,
        sqlite_where=DAYS_OFF,
        postgresql_where=DAYS_OFF,
    )


def downgrade() -> None:
    op.drop_index("ix_sample_days_off", "sample")
    op.drop_column("sample", "position")
