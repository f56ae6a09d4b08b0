"""The examples that travel with the project, as the commands use them."""

from pathlib import Path

_EXAMPLES = Path(__file__).parents[2] / "examples"

AGENT_SCRIPT = _EXAMPLES / "agents" / "parcel.yaml"
CALLER_SCRIPT = _EXAMPLES / "callers" / "parcel.yaml"
CALLBACK_SCRIPT = _EXAMPLES / "agents" / "callback.yaml"
CALLBACK_PEOPLE = _EXAMPLES / "carriers" / "callback.yaml"
