"""What an error or a close of a realtime server means for the call: one table, read by code and by message.

Servers disagree on codes (xAI, self-hosted ones send none), so each benign race is also known by its
words. Anything unlisted is recoverable: a session is only given up for a reason that is written here.
"""

from dataclasses import dataclass

from media.realtime.events import AgentFault, Severity

ACTIVE_RESPONSE = "conversation_already_has_active_response"
"""Our `response.create` met a response already running: the request is owed again."""

BENIGN, RECOVERABLE, FATAL = Severity.BENIGN, Severity.RECOVERABLE, Severity.FATAL

BY_CODE = {
    # Races between our request and what the server had already done: nothing is lost.
    "response_cancel_not_active": BENIGN,
    ACTIVE_RESPONSE: BENIGN,
    "item_already_truncated": BENIGN,  # Azure Voice Live with auto_truncate
    "item_truncate_invalid_item_id": BENIGN,  # the server removed the item first
    "item_delete_invalid_item_id": BENIGN,
    "truncate_out_of_range": BENIGN,
    "truncate_before_audio": BENIGN,
    "input_audio_buffer_commit_empty": BENIGN,
    # The session cannot serve the call any longer, or never could.
    "session_expired": FATAL,
    "beta_api_shape_disabled": FATAL,
    "invalid_api_key": FATAL,
    "invalid_model": FATAL,
    "model_not_found": FATAL,
    "insufficient_quota": FATAL,
    "billing_hard_limit_reached": FATAL,
    "account_deactivated": FATAL,
}

# Lower-case words of the message -> the code it is known by, for servers that send none (or another).
BY_WORDS = (
    ("no active response", "response_cancel_not_active"),  # xAI: "Cancellation failed: no active ..."
    ("already has an active response", ACTIVE_RESPONSE),
    ("is already shorter than", "truncate_out_of_range"),  # OpenAI sends code null
    # OpenAI: code unsupported_content_type, which alone may mean worse.
    ("only model output audio messages can be truncated", "truncate_before_audio"),
    ("hit the maximum duration", "session_expired"),
)

BY_TYPE = {"authentication_error": FATAL, "permission_error": FATAL}

# Close codes (RFC 6455 section 7.4.1 and the vendors' own) -> the fault they name.
BY_CLOSE = {
    1000: "closed_by_server",
    1001: "session_expired",  # OpenAI at 60 minutes; also a server going away, the remedy is the same
    1002: "protocol_error",
    1003: "message_refused",
    1006: "connection_lost",
    1007: "message_refused",
    1008: "policy_violation",
    1009: "message_too_big",
    1011: "server_error",
    1012: "service_restart",
    1013: "try_again_later",
    3000: "session_refused",  # OpenAI: "invalid_request_error.<code>" as the reason
    4000: "beta_api_shape_disabled",
}

# Fatal faults another session, opened the same way, would meet again.
FINAL = frozenset(
    {
        "account_deactivated",
        "beta_api_shape_disabled",
        "billing_hard_limit_reached",
        "configuration_refused",
        "format_refused",
        "insufficient_quota",
        "invalid_api_key",
        "invalid_model",
        "model_not_found",
        "policy_violation",
        "session_refused",
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The code a fault goes by here, whatever the server called it, and how bad it is."""

    code: str
    severity: Severity


def classify(code: str, message: str, kind: str = "") -> Verdict:
    """Judge an error by its code, else by its words, else by its type (`error.type`)."""
    if (severity := BY_CODE.get(code)) is not None:
        return Verdict(code, severity)
    words = message.lower()
    for phrase, known in BY_WORDS:
        if phrase in words:
            return Verdict(known, BY_CODE[known])
    return Verdict(code or kind or "unknown_error", BY_TYPE.get(kind, RECOVERABLE))


def fatal_fault(code: str, message: str, event_id: str | None = None) -> AgentFault:
    return AgentFault(code, message, FATAL, event_id, retry=code not in FINAL)


def close_fault(code: int | None, reason: str) -> AgentFault:
    """Return the fault of a connection that ended without our asking."""
    if code is None:
        return fatal_fault("connection_lost", reason or "the connection broke")
    return fatal_fault(BY_CLOSE.get(code, f"closed_{code}"), reason or f"closed with code {code}")
