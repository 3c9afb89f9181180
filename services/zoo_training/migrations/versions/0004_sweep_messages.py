"""What became of a sweep's promotion."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("sweeps") as batch:
        batch.add_column(sa.Column("message", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("sweeps") as batch:
        batch.drop_column("message")
