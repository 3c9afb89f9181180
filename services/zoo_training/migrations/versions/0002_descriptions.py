"""Recipes are kept by what they are described as, and jobs name the description that they were checked by."""

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "descriptions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("first_time", UtcTime, nullable=False),
        sa.Column("update_time", UtcTime, nullable=False),
    )
    op.create_index("descriptions_by_name", "descriptions", ["name", "first_time"])
    # Under its name, which is no digest: no trainer has it, and the next that registers is newer.
    op.execute(
        "INSERT INTO descriptions (digest, name, description, first_time, update_time) "
        "SELECT name, name, description, update_time, update_time FROM recipes"
    )
    op.drop_table("recipes")
    op.add_column("trainers", sa.Column("descriptions", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("jobs", sa.Column("recipe_digest", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("jobs", "recipe_digest")
    op.drop_column("trainers", "descriptions")
    op.create_table(
        "recipes",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("update_time", UtcTime, nullable=False),
    )
    op.execute(
        "INSERT INTO recipes (name, description, update_time) SELECT name, description, update_time FROM descriptions "
        "AS each WHERE digest = (SELECT digest FROM descriptions WHERE name = each.name "
        "ORDER BY first_time DESC, digest LIMIT 1)"
    )
    op.drop_index("descriptions_by_name", "descriptions")
    op.drop_table("descriptions")
