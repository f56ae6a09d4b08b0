"""What tools did is told apart by the model's name for the call; what is to be extracted from calls has a table."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Instant = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")
Document = sa.JSON().with_variant(JSONB(), "postgresql")

_DUE = sa.text("state = 'pending' AND next_attempt_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("tool_logs", sa.Column("tool_call_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("tool_logs", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(
        op.f("ix_tool_logs_tenant_id_name_created_at_id"),
        "tool_logs",
        ["tenant_id", "name", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "extractions",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("schema", Document, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Instant, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("finished_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name=op.f("fk_extractions_call_id_calls"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_extractions")),
    )
    op.create_index(
        "ix_extractions_due", "extractions", ["next_attempt_at"], sqlite_where=_DUE, postgresql_where=_DUE
    )
