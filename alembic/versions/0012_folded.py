"""Samples of past pings, packed, take the place of their rows"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from pingboard.store.folding import unfold_all

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "folded",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False, comment="ping.id / 32"),
        sa.Column("first_ts", sa.BigInteger(), nullable=False),
        sa.Column("last_ts", sa.BigInteger(), nullable=False),
        sa.Column("first_origin_ts", sa.BigInteger(), nullable=False),
        sa.Column("last_origin_ts", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.LargeBinary(), nullable=False, comment="see store/folded.py"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folded")),
        comment="samples of past pings, packed, which are no rows of `sample` any more",
    )
    op.add_column(
        "sealing",
        sa.Column(
            "folded_ts",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="pings seen from then on have nothing that is folded in their hours",
        ),
    )


def downgrade() -> None:
    unfold_all(op.get_bind())
    op.drop_column("sealing", "folded_ts")
    op.drop_table("folded")
