"""Which samples were taken back, so that an import without event IDs does not bring them again"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "withdrawn",
        sa.Column("ping", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pong_server", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["ping"], ["ping.id"], name=op.f("fk_withdrawn_ping_ping")),
        sa.ForeignKeyConstraint(
            ["pong_server"], ["server.id"], name=op.f("fk_withdrawn_pong_server_server")
        ),
        sa.PrimaryKeyConstraint("ping", "pong_server", name=op.f("pk_withdrawn")),
        sqlite_with_rowid=False,
        comment="samples whose pong was taken back: imported rows carry no event ID",
    )


def downgrade() -> None:
    op.drop_table("withdrawn")
