"""Why the agent is held: deaf and mute, until the last reason is gone."""

from control.background import Loop


class Holds:
    """Reasons and what the caller hears meanwhile. Driven by orders; never touches a leg."""

    def __init__(self) -> None:
        self._loops: dict[str, Loop | None] = {}
        self.any = False
        """Whether the agent is held."""

    def hold(self, reason: str, loop: Loop | None) -> None:
        """Hold for `reason`; the sound of the latest hold that has one is heard."""
        self._loops.pop(reason, None)
        self._loops[reason] = loop
        self.any = True

    def release(self, reason: str) -> bool:
        """That reason is gone; True if it was the last."""
        if reason not in self._loops:
            return False
        del self._loops[reason]
        self.any = bool(self._loops)
        return not self.any

    @property
    def sound(self) -> Loop | None:
        return next((loop for loop in reversed(self._loops.values()) if loop is not None), None)
