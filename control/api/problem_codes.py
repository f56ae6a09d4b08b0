"""Every code an answer of the API may bear, with its status and what it means: the list that is published."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """One line of the list."""

    status: int
    meaning: str


PROBLEM_CODES: Mapping[str, ProblemCode] = {
    # The request itself
    "invalid_json": ProblemCode(
        400, "The body is not JSON, or not such as all its readers understand alike (RFC 7493)."
    ),
    "invalid_query": ProblemCode(
        400, "A query parameter is unknown, repeated, or has a value it cannot have."
    ),
    "invalid_cursor": ProblemCode(400, "The cursor is none of ours, or belongs to a list in another order."),
    "invalid_sort": ProblemCode(400, "The list cannot be sorted by that field."),
    "range_too_long": ProblemCode(400, "There are more days between the dates than are listed."),
    "invalid_header": ProblemCode(400, "A header has a value it cannot have."),
    "invalid_destination": ProblemCode(
        400, "The destination is neither a valid E.164 number nor a SIP address."
    ),
    "incomplete_body": ProblemCode(400, "The body broke off."),
    "unsupported_media_type": ProblemCode(415, "The body is not declared as application/json."),
    "content_too_large": ProblemCode(413, "The body is longer than it may be."),
    "invalid_body": ProblemCode(
        422, "Fields are missing, unknown or have values they cannot have; `errors` lists them."
    ),
    # Who asks
    "missing_api_key": ProblemCode(401, "There is no API key in the request."),
    "invalid_api_key": ProblemCode(401, "The API key is unknown or was revoked."),
    "read_only_key": ProblemCode(403, "The key may only read."),
    "admin_key_required": ProblemCode(403, "The request needs a key that may administer the platform."),
    "tenant_disabled": ProblemCode(
        403, "The tenant is disabled: its keys open nothing, and it has no new calls."
    ),
    "auth_rate_limited": ProblemCode(429, "Too many failed attempts from this address."),
    "rate_limited": ProblemCode(429, "The tenant has used up its requests of this minute."),
    "too_many_streams": ProblemCode(429, "The tenant follows as many event streams as may be at a time."),
    "too_many_exports": ProblemCode(429, "The tenant fetches as many files as may be at a time."),
    # What is asked for
    "not_found": ProblemCode(404, "There is no such thing, or it is not yours."),
    "no_transfer": ProblemCode(404, "The call has not been transferred."),
    "no_gather": ProblemCode(404, "No digits have been gathered on the call."),
    "recording_not_enabled": ProblemCode(404, "The call was not recorded."),
    "recording_not_available": ProblemCode(404, "The recording is not there yet, or no more."),
    "transcription_not_configured": ProblemCode(501, "There is no provider of transcriptions."),
    "invalid_link": ProblemCode(403, "The download link is not one of ours, or its time is over."),
    "range_not_satisfiable": ProblemCode(416, "The recording has no such bytes."),
    "recording_store_unavailable": ProblemCode(
        503, "The store of the recordings does not answer; `detail` has what it says."
    ),
    # Repetitions
    "idempotency_conflict": ProblemCode(409, "The idempotency key was used for another request."),
    "idempotency_in_progress": ProblemCode(
        409, "The first request with this idempotency key is still being carried out."
    ),
    # Webhooks
    "too_many_webhooks": ProblemCode(409, "The tenant has as many endpoints as it may have."),
    "webhook_disabled": ProblemCode(409, "The endpoint is disabled: nothing is sent to it."),
    # Tenants
    "tenant_needed": ProblemCode(
        409, "The tenant is that of the key, or that of the settings: it is neither disabled nor deleted."
    ),
    "tenant_not_empty": ProblemCode(409, "The tenant has calls, agents or other things of its own."),
    # Calls
    "call_live": ProblemCode(409, "The call has not ended."),
    "call_not_in_progress": ProblemCode(409, "The call is not in progress."),
    "call_released": ProblemCode(409, "The call was transferred and is no longer ours."),
    "no_control_channel": ProblemCode(
        409, "The call came as a bare media stream: its carrier takes no commands."
    ),
    "gather_in_progress": ProblemCode(409, "Digits are being gathered on the call already."),
    "no_gather_in_progress": ProblemCode(409, "No digits are being gathered on the call."),
    "transfer_in_progress": ProblemCode(409, "The call is being transferred already."),
    "no_transfer_in_progress": ProblemCode(409, "The call is not being transferred."),
    "agent_read_only": ProblemCode(
        409, "The agent is written in the gateway's settings; it can be copied, not changed."
    ),
    "agent_has_live_calls": ProblemCode(409, "The agent is in a call."),
    "agent_not_found": ProblemCode(422, "There is no such agent."),
    "provider_not_found": ProblemCode(
        422, "The agent's provider is not there, or its account cannot be used."
    ),
    "from_number_missing": ProblemCode(
        422, "Neither the request nor the agent says which number to call from."
    ),
    "carrier_not_configured": ProblemCode(422, "There is no account with the carrier."),
    "variables_missing": ProblemCode(
        422, "A text of the agent names a variable that the request does not give."
    ),
    "audio_unavailable": ProblemCode(422, "The audio cannot be fetched or is none."),
    "integration_in_use": ProblemCode(
        409, "Numbers, agents or live calls are with the account; `detail` says which."
    ),
    "number_claimed": ProblemCode(409, "The number is claimed already."),
    "number_not_available": ProblemCode(422, "None of the tenant's carrier accounts has the number."),
    "read_only_settings": ProblemCode(
        409, "It is written in the gateway's settings, and changed there alone."
    ),
    "carrier_rejected": ProblemCode(422, "The carrier refuses; `detail` has its own code and text."),
    "concurrent_call_limit": ProblemCode(429, "As many calls are going on as may be."),
    "not_supported_by_carrier": ProblemCode(
        501, "The call's carrier cannot do it without dropping the call."
    ),
    "no_verbatim_voice": ProblemCode(501, "There is no speech port that could say a fixed text."),
    "format_not_installed": ProblemCode(501, "The gateway was installed without what writes that format."),
    "carrier_unavailable": ProblemCode(502, "The carrier cannot be reached."),
    "call_on_hold": ProblemCode(409, "The call is on hold."),
    # Carriers
    "invalid_webhook": ProblemCode(400, "A carrier's webhook cannot be read."),
    "invalid_signature": ProblemCode(403, "A carrier's signature is missing, wrong or stale."),
    "unknown_callback": ProblemCode(404, "Carriers are told of no such URL."),
    "unknown_integration": ProblemCode(404, "There is no such carrier account."),
    "unknown_carrier": ProblemCode(404, "There is no such carrier."),
    "unknown_stream_token": ProblemCode(404, "No media stream is expected there."),
    "request_timeout": ProblemCode(408, "The body did not come in time."),
    "upgrade_required": ProblemCode(426, "Media streams are websockets."),
    # The gateway
    "overloaded": ProblemCode(503, "The gateway is too busy to take a call."),
    "at_capacity": ProblemCode(503, "There is no room for another call."),
    "draining": ProblemCode(503, "The gateway takes no new calls."),
    "not_ready": ProblemCode(503, "The gateway can take no call now; `detail` says why."),
    "store_unavailable": ProblemCode(503, "The database does not answer."),
    "secrets_unreadable": ProblemCode(
        503, "What is stored was encrypted with a key that the gateway does not have any more."
    ),
    "owner_unreachable": ProblemCode(503, "The process that owns the call does not answer."),
    "internal_error": ProblemCode(500, "The fault is ours; the trace_id finds it."),
}
