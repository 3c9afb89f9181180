"""Of how many processes jobs are, and what trainers give to one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # What is there was of one.
    for table in ("jobs", "trainers"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("processes", sa.Integer, nullable=False, server_default="1"))
    for table in ("jobs", "trainers"):
        with op.batch_alter_table(table) as batch:
            batch.alter_column("processes", server_default=None)


def downgrade() -> None:
    for table in ("jobs", "trainers"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("processes")
