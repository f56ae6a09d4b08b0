"""Recordings: their consent, their erasure, their transcription."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")
Document = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("calls", sa.Column("recording_consent", sa.Boolean(), nullable=True))
    for column in (
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("erased_at", Instant, nullable=True),
        sa.Column("transcription_state", sa.Text(), nullable=True),
        sa.Column("transcription_requested_at", Instant, nullable=True),
        sa.Column("transcription_due_at", Instant, nullable=True),
        sa.Column("transcription_finished_at", Instant, nullable=True),
        sa.Column("transcription_problem", sa.Text(), nullable=True),
        sa.Column("transcription", Document, nullable=True),
    ):
        op.add_column("recordings", column)
    to_transcribe = sa.text("transcription_state = 'pending'")
    op.create_index(
        "ix_recordings_transcription_due",
        "recordings",
        ["transcription_due_at"],
        unique=False,
        sqlite_where=to_transcribe,
        postgresql_where=to_transcribe,
    )
    op.create_table(
        "recording_erasures",
        sa.Column("id", Identity, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("whole_call", sa.Boolean(), nullable=False),
        sa.Column("requested_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recording_erasures")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_recording_erasures_node"), "recording_erasures", ["node"], unique=False)
