"""Which provider accounts agents name, so that none is deleted under them."""

import sqlalchemy as sa
from alembic import op

from control.stores.columns import Document, Text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    made = op.create_table(
        "agent_accounts",
        sa.Column("agent_id", Text(), sa.ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("integration_id", Text(), primary_key=True),
        sa.Column("tenant_id", Text(), nullable=False),
    )
    op.create_index(
        op.f("ix_agent_accounts_tenant_id_integration_id"), "agent_accounts", ["tenant_id", "integration_id"]
    )
    op.bulk_insert(made, _named())


def _named() -> list[dict[str, object]]:
    """Those that there are; what was deleted before this was looked after is named for nothing."""
    agents = sa.table("agents", *map(sa.column, ("agent_id", "tenant_id", "version", "deleted_at")))
    versions = sa.table(
        "agent_versions",
        sa.column("agent_id"),
        sa.column("version"),
        sa.column("configuration", Document),
    )
    accounts = sa.table("integrations", *map(sa.column, ("integration_id", "tenant_id", "kind")))
    connection = op.get_bind()
    there = {
        (row.tenant_id, row.integration_id)
        for row in connection.execute(sa.select(accounts).where(accounts.c.kind == "provider"))
    }
    current = (
        sa.select(agents.c.agent_id, agents.c.tenant_id, versions.c.configuration)
        .join(versions, (versions.c.agent_id == agents.c.agent_id) & (versions.c.version == agents.c.version))
        .where(agents.c.deleted_at.is_(None))
    )
    return [
        {"agent_id": row.agent_id, "integration_id": name, "tenant_id": row.tenant_id}
        for row in connection.execute(current)
        for name in {row.configuration.get("provider"), *row.configuration.get("fallback_providers", ())}
        if (row.tenant_id, name) in there
    ]
