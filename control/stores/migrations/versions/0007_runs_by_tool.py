"""The runs of a tool are found by its id."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_tool_logs_tenant_id_tool_id_created_at_id"),
        "tool_logs",
        ["tenant_id", "tool_id", "created_at", "id"],
    )
