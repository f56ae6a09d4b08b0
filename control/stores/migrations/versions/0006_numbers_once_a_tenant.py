"""A tenant has a number once."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("uq_numbers_tenant_id_number", "numbers", ["tenant_id", "number"], unique=True)
