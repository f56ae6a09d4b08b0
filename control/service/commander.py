"""One call's commands on their way to its carrier: in order, one at a time, but for those that end something.

A hang-up waits for nobody, and what was to be done to a leg that is over is not asked for any more. Every command
comes to one outcome, which the call is told.
"""

import asyncio
from collections.abc import Callable

import structlog

from control.effects import CommandOutcome, CommandRefused
from control.performer import CarrierAccount, Pace, perform
from control.service.ports import World
from telephony.client_errors import Verdict
from telephony.commands import CallCommand, CancelTransfer, Hangup, Reject

log = structlog.get_logger()

_ENDS = (Hangup, Reject, CancelTransfer)


class Commander:
    """Driven by one call (`perform`, `answered`, `ended`); owns a task for each command under way."""

    def __init__(
        self, account: CarrierAccount, world: World, told: Callable[[CommandOutcome], None], *, name: str
    ) -> None:
        self._account = account
        self._world = world
        self._told = told
        self._name = name
        self._answered = asyncio.Event()
        self._ended = False
        self._last: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._pace = Pace(world.now, world.sleep, self._wait_for_answer)

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def answered(self) -> None:
        """The call is answered: what came too early is asked for again."""
        self._answered.set()

    def ended(self) -> None:
        """The call is over."""
        self._ended = True
        self._answered.set()

    def perform(self, command: CallCommand) -> None:
        """Have it done, after those before it."""
        ends = isinstance(command, _ENDS)
        work = self._perform(command, None if ends else self._last)
        task = self._world.spawn(work, f"{self._name} {type(command).__name__}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        if not ends:
            self._last = task

    def cancel(self) -> None:
        """The process ends; nobody will hear of the outcomes."""
        for task in self._under_way:
            task.cancel()

    async def _perform(self, command: CallCommand, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        if self._ended and not isinstance(command, _ENDS):
            outcome: CommandOutcome = CommandRefused(
                command.command_id, Verdict.ALREADY_ENDED, "the call is over"
            )
        else:
            outcome = await self._asked(command)
        if isinstance(outcome, CommandRefused) and outcome.verdict is Verdict.UNAUTHORISED:
            log.error("the carrier refuses our credentials", carrier=self._account.capabilities.carrier)
        self._told(outcome)

    async def _asked(self, command: CallCommand) -> CommandOutcome:
        try:
            return await perform(self._account, command, self._pace)
        except ValueError as fault:
            # A command that cannot even be written down is a fault of ours; its call goes on without it.
            log.exception("a command cannot be asked for", call=self._name, command=type(command).__name__)
            return CommandRefused(command.command_id, Verdict.REJECTED, str(fault))

    async def _wait_for_answer(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True
