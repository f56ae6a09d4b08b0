"""What the calls of this process need of everybody else."""

from dataclasses import dataclass, field

from control.api.ports import FetchAudio
from control.costs import Tariff
from control.service.admission import Admission
from control.service.keeper import Keeper
from control.service.ports import (
    AgentServers,
    CallStore,
    CarrierAccounts,
    Describe,
    MediaRoom,
    Tools,
    World,
)
from control.service.provider_accounts import ProviderAccounts
from control.service.reception import Reception
from control.service.switchboard import Switchboard


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the service is put together from."""

    store: CallStore
    keeper: Keeper
    accounts: CarrierAccounts
    reception: Reception
    switchboard: Switchboard
    providers: ProviderAccounts
    room: MediaRoom
    tools: Tools
    servers: AgentServers
    fetch_audio: FetchAudio
    """Of tools' fillers."""
    describe: Describe
    world: World
    node: str
    """This process, as its calls' records name it."""
    admission: Admission
    max_calls: int
    """Of this process at a time."""
    tariff: Tariff = field(default_factory=Tariff)
    """What calls cost, beside the carrier's minutes."""
    extracts: bool = False
    """Whether there is somebody to extract data from calls after their end."""
