"""An endpoint's log is read off an index, and its secret is replaced while the one before still signs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Instant = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("previous_secret", sa.LargeBinary(), nullable=True))
    op.add_column("webhooks", sa.Column("previous_until", Instant, nullable=True))
    op.add_column("delivery_attempts", sa.Column("webhook_id", sa.Text(), nullable=True))
    op.execute(
        "UPDATE delivery_attempts SET webhook_id = (SELECT webhook_id FROM deliveries"
        " WHERE deliveries.delivery_id = delivery_attempts.delivery_id)"
    )
    op.create_index(
        op.f("ix_delivery_attempts_webhook_id_id"), "delivery_attempts", ["webhook_id", "id"], unique=False
    )
