"""The answer to a request with an idempotency key is kept with its `Location`."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("idempotency", sa.Column("location", sa.Text(), nullable=True))
