"""That the index and the bucket come from a backup, and have not been compared since."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("upkeep", sa.Column("unchecked", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("upkeep", "unchecked")
