"""What is wrong, or will surprise, in the agents and numbers of the settings: what a value of its own cannot know."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from control.agent_run import DEFAULT_PROVIDER
from control.agents import AgentConfig
from control.costs import ModelPrice
from control.directory import NumberConfig
from control.integrations import is_account_id
from control.templates import wanted
from control.variables import ALWAYS
from gateway.configured_agents import DEFAULT, tariff
from gateway.finding import Finding
from gateway.provider_config import ProviderConfig
from gateway.settings import PREFIX, Settings
from telephony.capabilities import CAPABILITIES

_MODELS: Mapping[str, type[BaseModel]] = {
    "agents": AgentConfig,
    "numbers": NumberConfig,
    "prices": ModelPrice,
    "providers": ProviderConfig,
}


def agent_findings(settings: Settings) -> list[Finding]:
    """What the agents and numbers of valid settings lack."""
    return [
        *_numbers(settings),
        *_providers(settings),
        *_variables(settings),
        *_callers(settings),
        *_prices(settings),
        *_extraction(settings),
    ]


def invalid_entry(fault: ErrorDetails) -> Finding:
    """Explain a fault inside `agents`, `numbers`, `prices` or `providers`, by the name that it has in the TOML file."""
    loc = fault["loc"]
    loc = tuple(part for part in loc if part != "[key]")  # the fault is of the key itself
    table, path = str(loc[0]), loc[2:]
    model, field = _resolve(_MODELS[table], path)
    if fault["type"] == "extra_forbidden":
        close = get_close_matches(str(path[-1]), list(model.model_fields), n=1, cutoff=0.6)
        return Finding(
            "error",
            _dotted(loc),
            f"is no field of {_kind(model)}",
            f"did you mean {close[0]}?" if close else f"there are {', '.join(model.model_fields)}",
        )
    described = (field.description if field is not None else None) or "correct it, or leave it out"
    return Finding("error", _dotted(loc), fault["msg"].removeprefix("Value error, "), described)


def _resolve(model: type[BaseModel], path: tuple[int | str, ...]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model whose field a path ends at, and that field, if there is one."""
    field: FieldInfo | None = None
    for part in path:
        if not isinstance(part, str):
            continue  # a place in a list
        if field is not None and (inner := _model_in(field.annotation)) is not None:
            model = inner
        field = model.model_fields.get(part)
        if field is None:
            break
    return model, field


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  # any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _kind(model: type[BaseModel]) -> str:
    return {
        AgentConfig: "an agent",
        NumberConfig: "a number",
        ModelPrice: "a price",
        ProviderConfig: "a provider",
    }.get(model, "this table")


def _dotted(path: tuple[int | str, ...]) -> str:
    return ".".join(f'"{part}"' if str(part).startswith("+") else str(part) for part in path)


def _numbers(settings: Settings) -> Iterator[Finding]:
    accounts = {
        "telnyx": settings.telnyx_api_key is not None,
        "twilio": settings.twilio_account_sid is not None,
    }
    for number, entry in settings.numbers.items():
        name = _dotted(("numbers", number))
        if entry.agent is not None and entry.agent != DEFAULT and entry.agent not in settings.agents:
            close = get_close_matches(entry.agent, [*settings.agents, DEFAULT], n=1, cutoff=0.6)
            yield Finding(
                "error",
                name,
                f"is given the agent {entry.agent}, which is not there",
                f"did you mean {close[0]}?" if close else f"add [agents.{entry.agent}]",
            )
        if entry.carrier is not None and entry.carrier not in CAPABILITIES:
            yield Finding(
                "error",
                name,
                f"is with {entry.carrier}, which is no carrier of this gateway",
                f"there are {', '.join(CAPABILITIES)}",
            )
        elif entry.carrier is not None and entry.integration == DEFAULT and not accounts.get(entry.carrier):
            yield Finding(
                "warning",
                name,
                f"is with {entry.carrier}, of which there is no account",
                f"set {PREFIX}{entry.carrier.upper()}_..., or its calls cannot be answered or made",
            )


def _providers(settings: Settings) -> Iterator[Finding]:
    known = [DEFAULT_PROVIDER, *settings.providers]
    if DEFAULT_PROVIDER in settings.providers:
        yield Finding(
            "error",
            _dotted(("providers", DEFAULT_PROVIDER)),
            f"is the one that {PREFIX}REALTIME_URL names",
            "give the table another name",
        )
    for key, agent in settings.agents.items():
        places = [
            ("provider", agent.provider),
            *(("fallback_providers", each) for each in agent.fallback_providers),
        ]
        for field, provider in places:
            # Whether there is an account of an id, only the database knows.
            if provider is not None and provider not in known and not is_account_id(provider):
                yield Finding(
                    "error",
                    _dotted(("agents", key, field)),
                    f"is {provider}, which this gateway does not know",
                    f"there are {', '.join(known)}; describe it in [providers.{provider}]",
                )


def _variables(settings: Settings) -> Iterator[Finding]:
    """An inbound call brings nothing but what is always there, and perhaps headers: another variable ends it."""
    answering = {entry.agent for entry in settings.numbers.values() if entry.agent is not None}
    for key in sorted(answering | {DEFAULT}):
        agent = settings.agents.get(key, AgentConfig(name=key))
        texts = [(f"agents.{key}{pointer.replace('/', '.')}", text) for pointer, text in agent.texts()]
        if agent.instructions is None:
            texts.append((f"{PREFIX}REALTIME_INSTRUCTIONS", settings.realtime_instructions))
        if agent.greeting is None and settings.realtime_greeting is not None:
            texts.append((f"{PREFIX}REALTIME_GREETING", settings.realtime_greeting))
        for place, text in texts:
            for name in sorted(wanted(text) - ALWAYS):
                yield Finding(
                    "error",
                    place,
                    f"wants {{{{{name}}}}}, which a call to {_called(key)} need not bring",
                    f"give it a default: {{{{ {name} | default('...') }}}}",
                )


def _called(key: str) -> str:
    return "the default agent" if key == DEFAULT else f"the agent {key}"


def _callers(settings: Settings) -> Iterator[Finding]:
    both = settings.telnyx_api_key is not None and settings.twilio_account_sid is not None
    for key, agent in settings.agents.items():
        entry = settings.numbers.get(agent.from_number) if agent.from_number is not None else None
        if agent.from_number is not None and both and (entry is None or entry.carrier is None):
            yield Finding(
                "note",
                _dotted(("agents", key, "from_number")),
                "is with no carrier that the settings name: every dial from it must say which",
                f'write "{agent.from_number}" = {{carrier = "..."}} in [numbers]',
            )


def _extraction(settings: Settings) -> Iterator[Finding]:
    """A schema without anybody to fill it in."""
    for key, agent in settings.agents.items():
        if agent.extraction_schema is not None and settings.extraction_url is None:
            yield Finding(
                "warning",
                _dotted(("agents", key, "extraction_schema")),
                "nothing is extracted: no model is configured",
                f"set {PREFIX}EXTRACTION_URL",
            )


def _prices(settings: Settings) -> Iterator[Finding]:
    """Nobody is charged a guess, so a model without a price costs nothing in the records."""
    known = tariff(settings)
    models = {settings.realtime_model, *(agent.model for agent in settings.agents.values() if agent.model)}
    for model in sorted(models):
        if known.price(model) is None:
            yield Finding(
                "note",
                _dotted(("prices", model)),
                f"is not there: calls on {model} will show no cost of the model",
                f'add [prices."{model}"] in {settings.currency}, if you want to know',
            )


def invalid_entries(error: ValidationError) -> tuple[list[Finding], list[ErrorDetails]]:
    """Explain the faults inside the tables; the others are handed back."""
    found, others = [], []
    for fault in error.errors(include_input=False, include_url=False):  # an input may be a secret
        if len(fault["loc"]) > 1 and fault["loc"][0] in _MODELS:
            found.append(invalid_entry(fault))
        else:
            others.append(fault)
    return found, others
