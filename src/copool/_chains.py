"""Which chains of calls run and wait in a thread, by what is told of switches."""

from copool import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Level:
    """A chain that runs, or waits for the one that it has entered, or is suspended."""

    __slots__ = ("callee", "data", "face", "hangs", "stand_in")

    def __init__(self, face: object, data: "Any") -> None:
        self.face = None if face is None else id(face)
        self.data = data  # the tool's
        self.callee, _, alone = _core._chain(face)
        self.hangs = not alone  # from who has entered it
        self.stand_in: Any = None  # the tool's, too


class Chains:
    """The chains of a thread: told of each switch, it tells a tool what that means."""

    def __init__(self) -> None:
        self.levels = [Level(face, self.make()) for face in _core._waiting()]
        # Those that are suspended together, by the one in which they are.
        self.suspended: dict[int | None, list[Level]] = {}

    def make(self) -> "Any":
        """Return what the tool has for a chain that begins."""
        raise NotImplementedError

    def entered(self, group: list[Level]) -> None:
        """Note that these go on, on top of those that hang from each other."""

    def left(self, group: list[Level], *, alive: bool) -> None:
        """Note that these go on no longer, and whether they ever will."""

    def go_on(self) -> None:
        """Note that the last level runs now."""

    def switched(self, event: str, pair: tuple[object, object]) -> None:
        """Follow a switch: what `settrace()` would call."""
        origin, target = pair
        face = None if target is None else id(target)
        for depth in range(len(self.levels), 0, -1):
            if self.levels[depth - 1].face == face:
                self._leave(depth, origin)
                break
        else:
            self._enter(face, target, origin)
        self.go_on()

    def _enter(self, face: int | None, target: object, origin: object) -> None:
        group = self.suspended.pop(face, None)
        if group is None:
            group = [Level(target, self.make())]
        if not group[0].hangs:
            self._leave(0, origin)
        self.entered(group)
        self.levels += group

    def _leave(self, depth: int, origin: object) -> None:
        group = self.levels[depth:]
        del self.levels[depth:]
        if not group:
            return
        alive = _core._chain(origin)[1]
        if alive:
            self.suspended[group[-1].face] = group
        self.left(group, alive=alive)
