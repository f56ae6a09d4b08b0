"""The tables, as this release has them; `migrations` brings a database there.

Every row has its tenant. Ids are made by us and opaque; `id` and `position` are the database's own numbers, in the
order of insertion. What a list may be filtered by has an index that ends in the list's order, so that a first page
is read off it (`benchmarks/records.py` shows the plans).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from control.stores.columns import Document, Identity, Instant, Money, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# Calls

calls = Table(
    "calls",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("call_id", Text, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("agent_id", Text),
    Column("agent_version", Integer),
    Column("direction", Text, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("integration_id", Text, nullable=False),
    Column("carrier_call_id", Text),
    Column("leg_id", Text),
    Column("session_id", Text),
    Column("from_number", Text),
    Column("to_number", Text),
    Column("status", Text, nullable=False),
    Column("disposition", Text),
    Column("ended_reason", Text),
    Column("intent", Text),
    Column("hangup_cause", Text),
    Column("node", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("answered_at", Instant),
    Column("ended_at", Instant),
    Column("currency", Text, nullable=False),
    Column("rate_per_minute", Money, nullable=False),
    Column("llm_cost", Money, nullable=False),
    Column("llm_discount", Money, nullable=False),
    Column("recording_cost", Money, nullable=False),
    Column("transfer_cost", Money, nullable=False),
    Column("recording_enabled", Boolean, nullable=False),
    Column("has_recording", Boolean, nullable=False),
    Column("turn_count", Integer, nullable=False),
    Column("barge_in_count", Integer, nullable=False),
    Column("tool_call_count", Integer, nullable=False),
    Column("tools_called", Document, nullable=False),
    Column("transferred_to", Text),
    Column("transfer_duration_seconds", Integer, nullable=False),
    Column("metadata", Document, nullable=False),
    Column("extracted_data", Document),
    Column("notes", Text),
    Column("ws_unavailable", Boolean, nullable=False),
    Column("drain_forced", Boolean, nullable=False),
    Column("recording_consent", Boolean),
    Column("webhook_url", Text),
    Column("usage", Document, nullable=False),
    # What follows from the above by `CallRecord`'s own properties, kept to be summed and sorted by.
    Column("duration_ms", BigInteger, nullable=False),
    Column("minutes_used", Money, nullable=False),
    Column("call_cost", Money, nullable=False),
    Column("total_cost", Money, nullable=False),
    sqlite_autoincrement=True,
)

# A list's order.
_NEWEST = ("started_at", "id")

Index(None, calls.c.tenant_id, *[calls.c[name] for name in _NEWEST])
for _name in ("agent_id", "status", "disposition", "direction", "carrier", "from_number", "to_number"):
    Index(None, calls.c.tenant_id, calls.c[_name], *[calls.c[name] for name in _NEWEST])
# One agent's calls of one kind, however few among many.
for _name in ("status", "disposition", "direction", "carrier"):
    Index(None, calls.c.tenant_id, calls.c.agent_id, calls.c[_name], *[calls.c[name] for name in _NEWEST])
_is_live = text("status IN ('ringing', 'in-progress')")
Index("ix_calls_live", calls.c.node, sqlite_where=_is_live, postgresql_where=_is_live)
Index("ix_calls_carrier_call", calls.c.carrier_call_id)

call_details = Table(
    "call_details",
    metadata,
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE"), primary_key=True),
    Column("transcript", Document, nullable=False),
    Column("latency_turns", Document, nullable=False),
)
"""What only the single call shows: apart, so that lists and sums read short rows."""

turns = Table(
    "turns",
    metadata,
    Column("call", BigInteger, ForeignKey(calls.c.id, ondelete="CASCADE"), primary_key=True),
    Column("turn", Integer, primary_key=True),
    Column("user_speech_ms", Integer),
    Column("llm_ttfb_ms", Integer),
    Column("tts_start_ms", Integer),
    Column("tts_ttfb_ms", Integer),
    Column("first_audio_sent_ms", Integer),
    Column("first_audio_heard_ms", Integer),
)
"""The latency of every turn of ended calls, for percentiles."""

call_drafts = Table(
    "call_drafts",
    metadata,
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("data", Document, nullable=False),
)
"""What is on record of calls that live, piece by piece, until their ends are told."""

nodes = Table(
    "nodes",
    metadata,
    Column("node", Text, primary_key=True),
    Column("seen_at", Instant, nullable=False),
)
"""When each process that shares this database was last there."""

events = Table(
    "events",
    metadata,
    Column("position", Identity, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE")),
    Column("agent_id", Text),
    Column("name", Text, nullable=False),
    Column("sequence", Integer),
    Column("occurred_at", Instant, nullable=False),
    Column("at", Double, nullable=False),
    Column("data", Document, nullable=False),
    # For the event's webhooks alone; gone once they are delivered or given up.
    Column("secret", Document),
    # Not by the event's id alone: a call's events lie together, whatever their ids.
    UniqueConstraint("call_id", "event_id"),
    sqlite_autoincrement=True,
)
Index(None, events.c.tenant_id, events.c.position)


erased_calls = Table(
    "erased_calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("erased_at", Instant, nullable=False),
)
"""What may not come back: a late save of an erased call is dropped."""


# Webhooks out

webhooks = Table(
    "webhooks",
    metadata,
    Column("webhook_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Document, nullable=False),
    Column("agent_id", Text),
    Column("secret", LargeBinary, nullable=False),
    # Signs too, for a while after it was replaced.
    Column("previous_secret", LargeBinary),
    Column("previous_until", Instant),
    Column("payload", Text, nullable=False),
    Column("description", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("failing_since", Instant),
    Column("disabled_at", Instant),
    Column("disabled_reason", Text),
)
Index(None, webhooks.c.tenant_id, webhooks.c.created_at)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("webhook_id", Text, ForeignKey(webhooks.c.webhook_id, ondelete="CASCADE")),
    Column("url", Text),
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE")),
    Column("position", BigInteger, ForeignKey(events.c.position, ondelete="CASCADE"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Instant),
    Column("lease", Text),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
)
"""What is owed to one endpoint for one event: the outbox."""
_is_pending = text("state = 'pending'")
_is_due = text("state = 'pending' AND next_attempt_at IS NOT NULL")
Index(
    "ix_deliveries_lane",
    deliveries.c.lane,
    deliveries.c.position,
    sqlite_where=_is_pending,
    postgresql_where=_is_pending,
)
Index("ix_deliveries_due", deliveries.c.next_attempt_at, sqlite_where=_is_due, postgresql_where=_is_due)
Index(None, deliveries.c.call_id)
Index(None, deliveries.c.webhook_id, deliveries.c.created_at)
Index(None, deliveries.c.position)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("delivery_id", Text, ForeignKey(deliveries.c.delivery_id, ondelete="CASCADE"), nullable=False),
    Column("tenant_id", Text, nullable=False),
    # The delivery's own, once more: an endpoint's log is read in the order of its attempts.
    Column("webhook_id", Text),
    Column("attempt", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("status_code", Integer),
    Column("success", Boolean, nullable=False),
    Column("error", Text),
    Column("duration_ms", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
Index(None, delivery_attempts.c.delivery_id)
Index(None, delivery_attempts.c.webhook_id, delivery_attempts.c.id)


# Who may ask, and what was answered

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("max_calls", Integer),
    Column("requests_per_minute", Integer),
    Column("webhook_secret", LargeBinary),
    Column("settings", Document, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
)
Index(None, api_keys.c.tenant_id, api_keys.c.created_at)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("call_id", Text),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("location", Text),
    Column("created_at", Instant, nullable=False),
)
Index(None, idempotency.c.created_at)


# What calls are made of

agents = Table(
    "agents",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("secret", LargeBinary),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("deleted_at", Instant),
)
Index(None, agents.c.tenant_id, agents.c.created_at)

agent_versions = Table(
    "agent_versions",
    metadata,
    Column("agent_id", Text, ForeignKey(agents.c.agent_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("configuration", Document, nullable=False),
    Column("secrets", LargeBinary),
    Column("created_at", Instant, nullable=False),
    Column("note", Text),
)

agent_accounts = Table(
    "agent_accounts",
    metadata,
    Column("agent_id", Text, ForeignKey(agents.c.agent_id, ondelete="CASCADE"), primary_key=True),
    Column("integration_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
)
"""Which provider accounts the current versions of agents name: none of them can be deleted."""
Index(None, agent_accounts.c.tenant_id, agent_accounts.c.integration_id)

tools = Table(
    "tools",
    metadata,
    Column("tool_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("agent_id", Text, ForeignKey(agents.c.agent_id, ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("agent_id", "name"),
)
"""Which tools there are, to be listed; what they are is in the current version of their agent."""
Index(None, tools.c.tenant_id, tools.c.created_at)

tool_logs = Table(
    "tool_logs",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("tool_log_id", Text, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE"), nullable=False),
    Column("agent_id", Text),
    Column("tool_id", Text),
    Column("tool_call_id", Text, nullable=False, server_default=""),
    Column("name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("arguments", Document),
    Column("result", Document),
    Column("status_code", Integer),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("duration_ms", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
Index(None, tool_logs.c.tenant_id, tool_logs.c.created_at, tool_logs.c.id)
Index(None, tool_logs.c.tenant_id, tool_logs.c.name, tool_logs.c.created_at, tool_logs.c.id)
Index(None, tool_logs.c.tenant_id, tool_logs.c.tool_id, tool_logs.c.created_at, tool_logs.c.id)
Index(None, tool_logs.c.call_id)

extractions = Table(
    "extractions",
    metadata,
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("schema", Document, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Of a pending one: when it may be tried, or when whoever tries it now has given up.
    Column("next_attempt_at", Instant),
    # The process that tries it, or tried it last.
    Column("claimed_by", Text),
    Column("error", Text),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
)
"""What is to be extracted from calls that have ended."""
Index("ix_extractions_due", extractions.c.next_attempt_at, sqlite_where=_is_due, postgresql_where=_is_due)

numbers = Table(
    "numbers",
    metadata,
    Column("number_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("integration_id", Text, nullable=False),
    Column("carrier_number_id", Text),
    Column("agent_id", Text),
    Column("label", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("carrier", "integration_id", "number"),
)
Index(None, numbers.c.tenant_id, numbers.c.created_at)
# A number is with one carrier at a time, so a tenant has it once.
Index("uq_numbers_tenant_id_number", numbers.c.tenant_id, numbers.c.number, unique=True)

integrations = Table(
    "integrations",
    metadata,
    Column("integration_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("credentials", LargeBinary, nullable=False),
    Column("settings", Document, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("checked_at", Instant),
    Column("problem", Text),
)
Index(None, integrations.c.tenant_id, integrations.c.created_at)

recordings = Table(
    "recordings",
    metadata,
    Column("recording_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("call_id", Text, ForeignKey(calls.c.call_id, ondelete="CASCADE"), nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("sample_rate", Integer, nullable=False),
    Column("bytes", BigInteger),
    Column("duration_ms", BigInteger),
    Column("consent", Boolean),
    Column("problem", Text),
    Column("started_at", Instant, nullable=False),
    Column("ready_at", Instant),
    Column("expires_at", Instant),
    Column("agent_id", Text),
    Column("erased_at", Instant),
    Column("transcription_state", Text),
    Column("transcription_requested_at", Instant),
    Column("transcription_due_at", Instant),
    Column("transcription_finished_at", Instant),
    Column("transcription_problem", Text),
    Column("transcription", Document),
)
Index(None, recordings.c.tenant_id, recordings.c.started_at)
Index(None, recordings.c.expires_at)
_to_transcribe = text("transcription_state = 'pending'")
Index(
    "ix_recordings_transcription_due",
    recordings.c.transcription_due_at,
    sqlite_where=_to_transcribe,
    postgresql_where=_to_transcribe,
)

recording_erasures = Table(
    "recording_erasures",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("path", Text),
    Column("whole_call", Boolean, nullable=False),
    Column("requested_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""Files that are to go, when nothing else knows of them any more: in the store (`path`, until that is done), and
whatever else `node` has of the call in its data folder."""
Index(None, recording_erasures.c.node)
