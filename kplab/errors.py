"""Every exception that kplab raises on purpose, as one tree.

* KplabError
    * UsageError: what the user typed or wrote cannot be used
        * ExpressionError: a packet expression
        * ManifestError: Kubernetes YAML
        * ConfigError: a KubeProxyConfiguration, a flag
        * TraceFileError: a recorded trace
        * UnknownNameError: a pod, node, lesson or mode that does not exist
        * NotInstalledError: a part of kplab, or a program that it calls, is not on this machine
    * SandboxError: a lab could not be started on this machine
        * EngineError: the container engine is missing, refuses, or hangs
        * ImageError: the container's image is missing, could not be had, or is of another kplab
    * LabError: the lab stands, and something in it failed
        * ProgramError: a program that we ran failed
        * ApplyError: the kernel refused rules
        * GuardError: the privileged side was asked to act outside its lab
    * CaptureError: the kernel cannot be watched
    * ProtocolError: the two sides do not understand each other, or one has gone
    * LessonError: a lesson's own files are wrong

Each says what was tried, what happened (a tool's output verbatim) and what to do next.
"""

from __future__ import annotations


class KplabError(Exception):
    """The root. `str(error)` is one message for a person: what was tried, what happened, what to do."""

    def __init__(self, tried: str, happened: str = "", hint: str = "") -> None:
        super().__init__(tried, happened, hint)
        self.tried = tried
        """What we were doing, or what is wrong, as a sentence without a full stop."""
        self.happened = happened
        """What came of it; a program's output verbatim."""
        self.hint = hint
        """What the reader can do next."""

    def __str__(self) -> str:
        text = f"{self.tried}: {self.happened}" if self.happened else self.tried
        return f"{text}\n  {self.hint}" if self.hint else text

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows in place of a traceback (IPython asks for it by this name)."""
        return [f"{type(self).__name__}: {self}", *(line for note in self._notes() for line in note.splitlines())]

    def _notes(self) -> list[str]:
        return list(getattr(self, "__notes__", ()))


class UsageError(KplabError):
    """What the user typed or wrote cannot be used."""


class ExpressionError(UsageError):
    """A packet expression is refused; `position` is the 0-based column of the part that is wrong."""

    def __init__(self, tried: str, happened: str = "", hint: str = "", *, position: int = 0, length: int = 1) -> None:
        super().__init__(tried, happened, hint)
        self.position = position
        self.length = length


class ManifestError(UsageError):
    """Kubernetes YAML cannot be read; the message carries file, line, field and what was expected."""

    def __init__(
        self, tried: str, happened: str = "", hint: str = "", *, file: str = "", line: int = 0, field: str = ""
    ) -> None:
        super().__init__(tried, happened, hint)
        self.file = file
        self.line = line
        self.field = field


class ConfigError(UsageError):
    """A KubeProxyConfiguration or a flag of kube-proxy's cannot be used."""


class TraceFileError(UsageError):
    """A recorded trace cannot be read: cut short, corrupt, or of a version that we do not know."""


class UnknownNameError(UsageError):
    """A pod, node, lesson, mode or lab by that name does not exist; the hint lists those that do."""


class NotInstalledError(UsageError):
    """A part of kplab, or a program that it calls, is not on this machine; the hint has the command."""


class SandboxError(KplabError):
    """A lab could not be started on this machine."""


class NamespacesError(SandboxError):
    """The kernel refused a lab its namespaces; another sandbox may do."""


class EngineError(SandboxError):
    """No container engine, one that refuses (`happened` holds what it said), or one that does not answer."""


class ImageError(SandboxError):
    """The container's image could not be had, or holds another kplab."""


class ImageMissingError(ImageError):
    """The image is not on this machine; it can be built or pulled, which the user is asked first. `image` names it."""

    def __init__(self, tried: str, happened: str = "", hint: str = "", *, image: str = "", stage: str = "") -> None:
        super().__init__(tried, happened, hint)
        self.image = image
        self.stage = stage
        """The Containerfile's stage that it is made from."""


class LabError(KplabError):
    """The lab stands, and something in it failed."""


class ProgramError(LabError):
    """A program that we ran failed; `happened` holds its standard error verbatim."""

    def __init__(self, tried: str, happened: str = "", hint: str = "", *, status: int = 1) -> None:
        super().__init__(tried, happened, hint)
        self.status = status


class ApplyError(LabError):
    """The kernel, or the tool in front of it, refused rules."""


class GuardError(LabError):
    """The privileged side was asked to act outside its own lab, and refused."""


class CaptureError(KplabError):
    """The kernel cannot be watched."""


class ProtocolError(KplabError):
    """The two sides do not understand each other, or one of them has gone."""


class LessonError(KplabError):
    """A lesson's own files are wrong; the message is for its author."""
