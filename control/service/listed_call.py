"""A call that a carrier lists: whether it is one that we have dialled, and whose answer was lost."""

from datetime import datetime, timedelta

from control.call_record import CallRecord
from telephony.client_errors import LiveCall

# Seconds: a dial that is not listed may still be on its way into the list.
SETTLED = 30.0


def is_the_dial(listed: LiveCall, record: CallRecord) -> bool:
    """Whether a call that the carrier lists is the one that was dialled.

    By our own token where the carrier repeats it (Telnyx); else by both numbers and the time (Twilio).
    """
    if listed.token is not None:
        return listed.token.call_id == record.call_id and listed.token.transfer_id is None
    if (listed.from_number, listed.to_number) != (record.from_number, record.to_number):
        return False
    if listed.started_at is None:
        return False
    try:
        began = datetime.fromisoformat(listed.started_at)
    except ValueError:
        return False
    # Twilio counts whole seconds, and calls wait in its queue (F 34).
    return timedelta(seconds=-2) <= began - record.started_at <= timedelta(seconds=SETTLED)
