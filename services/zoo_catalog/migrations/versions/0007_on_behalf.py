"""On whose behalf a service published or changed something, and for what."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table in ("changes", "versions"):
        op.add_column(table, sa.Column("on_behalf_of", sa.String(128), nullable=False, server_default=""))
    op.add_column("changes", sa.Column("cause", sa.String(128), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("changes", "cause")
    for table in ("changes", "versions"):
        op.drop_column(table, "on_behalf_of")
