"""Where the play stands and how fast it goes. No toolkit, no clock of its own: `advance` is told the time."""

from __future__ import annotations

from kplab.scene.frame import Frame
from kplab.scene.timeline import Timeline

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Playback:
    """A timeline and a place in it. With `still` (reduced motion) only settled moments are shown."""

    def __init__(self, timeline: Timeline, *, still: bool = False, speed: float = 1.0) -> None:
        self.timeline = timeline
        self.still = still
        self.speed = speed
        self.position = 0.0
        """Seconds of the timeline."""
        self.playing = False
        self._clock: float | None = None

    def play(self, now: float) -> None:
        """Begin to play at the time `now`; from the start when the end was reached."""
        if self.at_end:
            self.position = 0.0
        self.playing, self._clock = True, now

    def pause(self) -> None:
        """Stand still."""
        self.playing, self._clock = False, None

    def advance(self, now: float) -> None:
        """Move on to the time `now`; pauses at the end."""
        if not self.playing:
            return
        if self._clock is not None:
            self.position = min(self.position + max(now - self._clock, 0.0) * self.speed, self.timeline.duration)
        self._clock = now
        if self.at_end:
            self.pause()

    @property
    def at_end(self) -> bool:
        """Whether there is nothing more to play."""
        return self.position >= self.timeline.duration

    @property
    def hop(self) -> int:
        """The hop that is shown, 0-based."""
        return self.timeline.hop_at(self.position)

    def frame(self) -> Frame:
        """Return what is to be shown now."""
        return self.timeline.at(self.timeline.settled(self.position) if self.still else self.position)

    def step_hop(self, by: int) -> None:
        """Pause, and go a hop forward (1) or back (-1)."""
        self.pause()
        step = self.timeline.next_hop if by > 0 else self.timeline.previous_hop
        self.position = step(self.position)

    def step_rule(self, by: int) -> None:
        """Pause, and go a tried rule forward (1) or back (-1)."""
        self.pause()
        step = self.timeline.next_rule if by > 0 else self.timeline.previous_rule
        self.position = step(self.position)

    def seek_hop(self, hop: int) -> None:
        """Pause at a hop (0-based), all of it shown."""
        self.pause()
        self.position = self.timeline.rest_of(hop)

    def home(self) -> None:
        """Pause at the beginning."""
        self.pause()
        self.position = 0.0

    def end(self) -> None:
        """Pause at the end."""
        self.pause()
        self.position = self.timeline.duration

    def faster(self, by: int) -> None:
        """Go `by` places up (or down) the list of speeds."""
        index = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[min(max(index, 0), len(SPEEDS) - 1)]
