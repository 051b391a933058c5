"""SQLite counts changes without writing the count: a third fewer pages a commit

The journal always keeps its last rows, so the next number follows from them; AUTOINCREMENT keeps it
in a table of its own besides. SQLite can't take it away from a table, so the rows are copied.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '% change %'"


def upgrade() -> None:
    _copy(autoincrement=False)


def downgrade() -> None:
    _copy(autoincrement=True)


def _copy(*, autoincrement: bool) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    # None of them may see a database without the table that it writes to.
    triggers = [tuple(row) for row in connection.execute(sa.text(TRIGGERS))]
    for name, _ in triggers:
        op.execute(f"DROP TRIGGER {name}")
    op.create_table(
        "change_copy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ping", sa.BigInteger(), nullable=True),
        sa.Column("pong_server", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
        sqlite_autoincrement=autoincrement,
    )
    op.execute("INSERT INTO change_copy SELECT id, ping, pong_server FROM change")
    op.drop_table("change")
    op.rename_table("change_copy", "change")
    for _, sql in triggers:
        op.execute(sql)
