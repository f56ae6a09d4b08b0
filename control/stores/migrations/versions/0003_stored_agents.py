"""Stored agents: what is secret in a version lies apart, and `tools` says which tools there are.

Nothing wrote agents or tools before this revision.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Instant = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("agent_versions", sa.Column("secrets", sa.LargeBinary(), nullable=True))
    op.drop_table("tools")
    op.create_table(
        "tools",
        sa.Column("tool_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.agent_id"], name=op.f("fk_tools_agent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tool_id", name=op.f("pk_tools")),
        sa.UniqueConstraint("agent_id", "name", name=op.f("uq_tools_agent_id_name")),
    )
    op.create_index(op.f("ix_tools_tenant_id_created_at"), "tools", ["tenant_id", "created_at"], unique=False)
