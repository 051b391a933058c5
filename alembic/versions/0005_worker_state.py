"""How the worker and its rooms are; the lease is a lock of the system's, not a row"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "worker",
        sa.Column("vantage", sa.Text(), nullable=False, comment="its name"),
        sa.Column("state", sa.Text(), nullable=False, comment="model.WorkerState"),
        sa.Column("since_ts", sa.BigInteger(), nullable=False, comment="of the state"),
        sa.Column("synced_ts", sa.BigInteger(), comment="the last answered sync"),
        sa.PrimaryKeyConstraint("vantage", name=op.f("pk_worker")),
        comment="how the worker is, for readiness and for stale pages",
    )
    op.drop_table("lease")
    state = sa.Column("state", sa.Text(), comment="model.RoomState; null before the first join")
    # Not as a batch: copying the table would lose its triggers.
    op.add_column("room", state)


def downgrade() -> None:
    op.drop_column("room", "state")
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_ts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
        comment="the one worker that may write",
    )
    op.drop_table("worker")
