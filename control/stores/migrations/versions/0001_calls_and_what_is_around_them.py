"""Calls, their events and everything around them: the first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As the databases know them, whatever the code calls them later.
Identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")
Money = sa.BigInteger().with_variant(sa.Numeric(20, 6), "postgresql")
Document = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _search()
    op.create_table(
        "agents",
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("deleted_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_agents")),
    )
    op.create_index(
        op.f("ix_agents_tenant_id_created_at"), "agents", ["tenant_id", "created_at"], unique=False
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("last_used_at", Instant, nullable=True),
        sa.Column("revoked_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )
    op.create_index(
        op.f("ix_api_keys_tenant_id_created_at"), "api_keys", ["tenant_id", "created_at"], unique=False
    )
    op.create_table(
        "calls",
        sa.Column("id", Identity, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("agent_version", sa.Integer(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("carrier_call_id", sa.Text(), nullable=True),
        sa.Column("leg_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("from_number", sa.Text(), nullable=True),
        sa.Column("to_number", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=True),
        sa.Column("ended_reason", sa.Text(), nullable=True),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("hangup_cause", sa.Text(), nullable=True),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("answered_at", Instant, nullable=True),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("rate_per_minute", Money, nullable=False),
        sa.Column("llm_cost", Money, nullable=False),
        sa.Column("llm_discount", Money, nullable=False),
        sa.Column("recording_cost", Money, nullable=False),
        sa.Column("transfer_cost", Money, nullable=False),
        sa.Column("recording_enabled", sa.Boolean(), nullable=False),
        sa.Column("has_recording", sa.Boolean(), nullable=False),
        sa.Column("turn_count", sa.Integer(), nullable=False),
        sa.Column("barge_in_count", sa.Integer(), nullable=False),
        sa.Column("tool_call_count", sa.Integer(), nullable=False),
        sa.Column("tools_called", Document, nullable=False),
        sa.Column("transferred_to", sa.Text(), nullable=True),
        sa.Column("transfer_duration_seconds", sa.Integer(), nullable=False),
        sa.Column("metadata", Document, nullable=False),
        sa.Column("extracted_data", Document, nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("ws_unavailable", sa.Boolean(), nullable=False),
        sa.Column("drain_forced", sa.Boolean(), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("usage", Document, nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("minutes_used", Money, nullable=False),
        sa.Column("call_cost", Money, nullable=False),
        sa.Column("total_cost", Money, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
        sa.UniqueConstraint("call_id", name=op.f("uq_calls_call_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_calls_carrier_call", "calls", ["carrier_call_id"], unique=False)
    op.create_index(
        "ix_calls_live",
        "calls",
        ["node"],
        unique=False,
        sqlite_where=sa.text("status IN ('ringing', 'in-progress')"),
        postgresql_where=sa.text("status IN ('ringing', 'in-progress')"),
    )
    op.create_index(
        op.f("ix_calls_tenant_id_agent_id_carrier_started_at_id"),
        "calls",
        ["tenant_id", "agent_id", "carrier", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_agent_id_direction_started_at_id"),
        "calls",
        ["tenant_id", "agent_id", "direction", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_agent_id_disposition_started_at_id"),
        "calls",
        ["tenant_id", "agent_id", "disposition", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_agent_id_started_at_id"),
        "calls",
        ["tenant_id", "agent_id", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_agent_id_status_started_at_id"),
        "calls",
        ["tenant_id", "agent_id", "status", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_carrier_started_at_id"),
        "calls",
        ["tenant_id", "carrier", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_direction_started_at_id"),
        "calls",
        ["tenant_id", "direction", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_disposition_started_at_id"),
        "calls",
        ["tenant_id", "disposition", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_from_number_started_at_id"),
        "calls",
        ["tenant_id", "from_number", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_started_at_id"), "calls", ["tenant_id", "started_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_calls_tenant_id_status_started_at_id"),
        "calls",
        ["tenant_id", "status", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_calls_tenant_id_to_number_started_at_id"),
        "calls",
        ["tenant_id", "to_number", "started_at", "id"],
        unique=False,
    )
    op.create_table(
        "erased_calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("erased_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_erased_calls")),
    )
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_table(
        "integrations",
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("settings", Document, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("checked_at", Instant, nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("integration_id", name=op.f("pk_integrations")),
    )
    op.create_index(
        op.f("ix_integrations_tenant_id_created_at"),
        "integrations",
        ["tenant_id", "created_at"],
        unique=False,
    )
    op.create_table(
        "numbers",
        sa.Column("number_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("carrier_number_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("number_id", name=op.f("pk_numbers")),
        sa.UniqueConstraint(
            "carrier", "integration_id", "number", name=op.f("uq_numbers_carrier_integration_id_number")
        ),
    )
    op.create_index(
        op.f("ix_numbers_tenant_id_created_at"), "numbers", ["tenant_id", "created_at"], unique=False
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("max_calls", sa.Integer(), nullable=True),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("webhook_secret", sa.LargeBinary(), nullable=True),
        sa.Column("settings", Document, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("disabled_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", Document, nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("failing_since", Instant, nullable=True),
        sa.Column("disabled_at", Instant, nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )
    op.create_index(
        op.f("ix_webhooks_tenant_id_created_at"), "webhooks", ["tenant_id", "created_at"], unique=False
    )
    op.create_table(
        "agent_versions",
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("configuration", Document, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.agent_id"], name=op.f("fk_agent_versions_agent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("agent_id", "version", name=op.f("pk_agent_versions")),
    )
    op.create_table(
        "call_details",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("transcript", Document, nullable=False),
        sa.Column("latency_turns", Document, nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name=op.f("fk_call_details_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_call_details")),
    )
    op.create_table(
        "events",
        sa.Column("position", Identity, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("occurred_at", Instant, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("data", Document, nullable=False),
        sa.Column("secret", Document, nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name=op.f("fk_events_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
        sa.UniqueConstraint("call_id", "event_id", name=op.f("uq_events_call_id_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_tenant_id_position"), "events", ["tenant_id", "position"], unique=False)
    op.create_table(
        "recordings",
        sa.Column("recording_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("sample_rate", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("consent", sa.Boolean(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("ready_at", Instant, nullable=True),
        sa.Column("expires_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name=op.f("fk_recordings_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_recordings")),
        sa.UniqueConstraint("call_id", name=op.f("uq_recordings_call_id")),
    )
    op.create_index(op.f("ix_recordings_expires_at"), "recordings", ["expires_at"], unique=False)
    op.create_index(
        op.f("ix_recordings_tenant_id_started_at"), "recordings", ["tenant_id", "started_at"], unique=False
    )
    op.create_table(
        "tool_logs",
        sa.Column("id", Identity, nullable=False),
        sa.Column("tool_log_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("tool_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("arguments", Document, nullable=True),
        sa.Column("result", Document, nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name=op.f("fk_tool_logs_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_logs")),
        sa.UniqueConstraint("tool_log_id", name=op.f("uq_tool_logs_tool_log_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_tool_logs_call_id"), "tool_logs", ["call_id"], unique=False)
    op.create_index(
        op.f("ix_tool_logs_tenant_id_created_at_id"),
        "tool_logs",
        ["tenant_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "tools",
        sa.Column("tool_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("configuration", Document, nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.agent_id"], name=op.f("fk_tools_agent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tool_id", name=op.f("pk_tools")),
        sa.UniqueConstraint("agent_id", "name", name=op.f("uq_tools_agent_id_name")),
    )
    op.create_index(op.f("ix_tools_tenant_id_created_at"), "tools", ["tenant_id", "created_at"], unique=False)
    op.create_table(
        "turns",
        sa.Column("call", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("user_speech_ms", sa.Integer(), nullable=True),
        sa.Column("llm_ttfb_ms", sa.Integer(), nullable=True),
        sa.Column("tts_start_ms", sa.Integer(), nullable=True),
        sa.Column("tts_ttfb_ms", sa.Integer(), nullable=True),
        sa.Column("first_audio_sent_ms", sa.Integer(), nullable=True),
        sa.Column("first_audio_heard_ms", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], name=op.f("fk_turns_call"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("call", "turn", name=op.f("pk_turns")),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Instant, nullable=True),
        sa.Column("lease", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("finished_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name=op.f("fk_deliveries_call_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["position"], ["events.position"], name=op.f("fk_deliveries_position"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.webhook_id"], name=op.f("fk_deliveries_webhook_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_call_id"), "deliveries", ["call_id"], unique=False)
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending' AND next_attempt_at IS NOT NULL"),
        postgresql_where=sa.text("state = 'pending' AND next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_lane",
        "deliveries",
        ["lane", "position"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(op.f("ix_deliveries_position"), "deliveries", ["position"], unique=False)
    op.create_index(
        op.f("ix_deliveries_webhook_id_created_at"), "deliveries", ["webhook_id", "created_at"], unique=False
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("id", Identity, nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.delivery_id"],
            name=op.f("fk_delivery_attempts_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempts")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_delivery_attempts_delivery_id"), "delivery_attempts", ["delivery_id"], unique=False
    )


def _search() -> None:
    """The full-text index, which each database has its own way of making; rows are calls by their numbers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE call_search (rowid bigint PRIMARY KEY, words tsvector NOT NULL)")
        op.execute("CREATE INDEX ix_call_search_words ON call_search USING gin (words)")
    else:
        # Which words a call has, not where: half the size. Words come in ASCII, colons included.
        op.execute(
            "CREATE VIRTUAL TABLE call_search USING fts5"
            "(words, detail = none, columnsize = 0, tokenize = \"ascii tokenchars ':'\")"
        )
