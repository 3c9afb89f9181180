"""What was trained with a dataset is found."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index("edges_by_dataset", "edges", ["dataset"])


def downgrade() -> None:
    op.drop_index("edges_by_dataset", "edges")
