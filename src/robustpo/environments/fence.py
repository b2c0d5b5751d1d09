"""The one border through which the code of an environment is called.

Inside it anything may happen: whatever is raised, `SystemExit` included, becomes one line of ours,
a call that does not return is ended by the watchdog, and what belongs to the process is put back.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from robustpo.base.files import one_line
from robustpo.environments.process_state import (
    Apart,
    ProcessState,
    SignalHandlers,
    kept_interpreter,
    kept_streams,
    return_to,
)
from robustpo.environments.watchdog import about_to_call
from robustpo.errors import ConfigError, SimulatorError

SECONDS_BETWEEN_LOOKS = 1.0

# In what the simulators of modules imported so far differ from the process.
_imported = Apart()
_NOTHING = contextlib.nullcontext()


class WrongAnswer(Exception):
    """What a call returned is not what Gymnasium's interface promises; the text says what it is."""


class Fence:
    """Around one environment of a task.

    Args:
        task: what errors call the task.
        seed: the environment's simulator seed, or None where it is only looked at.
        index: which of the environments that are stepped together it is.

    Attributes:
        step: a context to step inside. It costs half a microsecond.
    """

    def __init__(self, task: str, seed: int | None = None, index: int | None = None) -> None:
        self.task, self.index = task, index
        self._who = f"task {task!r}" + ("" if seed is None else f", simulator seed {seed}")
        self._apart = _imported
        self._handlers = SignalHandlers()
        self._looked = float("-inf")
        self._home: str | None = None
        self.step = _Step(self)

    def construct(self, constructor: Callable[[], Any]) -> Any:
        """Return what a constructor makes.

        Raises:
            ConfigError: in one line, if it raises.
        """
        about_to_call()
        before = ProcessState.now()
        self._home = before.directory
        try:
            with kept_streams(), kept_interpreter(), self._apart.inside():
                return constructor()
        except ConfigError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise ConfigError(
                f"task {self.task!r} could not be made: its constructor {describe(error)}"
            ) from error
        finally:
            self._take_in(before.restore())
            self._handlers.restore()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read what an environment says of itself: spaces, limits, metadata.

        Raises:
            ConfigError: in one line, if that raises.
        """
        try:
            yield
        except ConfigError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise ConfigError(
                f"task {self.task!r}: its spaces, or what else it says of itself, are unreadable "
                f"(it {describe(error)})"
            ) from error

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Call what an environment may use to change the process, such as `reset`.

        Raises:
            SimulatorError: in one line, if it raises.
        """
        about_to_call()
        before = ProcessState.now()
        try:
            with self._apart.inside() if self._apart else _NOTHING:
                yield
        except BaseException as error:
            self.failed(name, error)
        finally:
            self._put_back(before)

    def _put_back(self, before: ProcessState) -> None:
        """Put the process back as it was before a call."""
        self._take_in(before.restore())
        # Not after every reset of short episodes: this one takes ten microseconds.
        now = time.monotonic()
        if now - self._looked > SECONDS_BETWEEN_LOOKS:
            self._handlers.restore()
            self._looked = now

    def _take_in(self, changed: Apart) -> None:
        """Remember where a call has left the simulator, and in what precision it computes."""
        if changed or self._apart:
            self._apart = Apart(changed.directory, changed.double or self._apart.double)

    def close(self, env: Any) -> str | None:
        """Close an environment; return what went wrong, which is no reason to stop anything."""
        try:
            with self.call("close"):
                env.close()
        except SimulatorError as error:
            return str(error)
        finally:
            # A step may have moved, where nobody looks.
            return_to(self._home)
        return None

    def failed(self, name: str, error: BaseException) -> NoReturn:
        """Say which environment it was that raised, and in which call."""
        if is_stop(error):
            raise error
        text = f"{self._who}: {name} {describe(error)}"
        raise SimulatorError(text, self.index) from error


class _Step:
    """A context for the call that is made at every step: no state of the process is looked at."""

    __slots__ = ("_before", "_fence", "_own")

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._own: Any = None
        self._before: ProcessState | None = None

    def __enter__(self) -> None:
        about_to_call()
        if self._fence._apart:
            self._before = ProcessState.now()
            self._own = self._fence._apart.inside()
            self._own.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._before is not None:
            self._own.__exit__(None, None, None)
            self._fence._take_in(self._before.restore())
            self._before = None
        if error is not None:
            self._fence.failed("step", error)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import a module of the user's, which may change the process as its simulator would."""
    global _imported
    before, handlers = ProcessState.now(), SignalHandlers()
    try:
        with kept_streams(), kept_interpreter():
            yield
    finally:
        changed = before.restore()
        _imported = Apart(
            changed.directory or _imported.directory, changed.double or _imported.double
        )
        handlers.restore()


def is_stop(error: BaseException) -> bool:
    """Whether what was raised is a Ctrl-C or SIGTERM of this process, not the environment's own.

    Where our handler of Ctrl-C takes a note, or raises a kind of its own, as the command line's
    does, a plain `KeyboardInterrupt` is the environment's.
    """
    if type(error) is KeyboardInterrupt:
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, KeyboardInterrupt)


def describe(error: BaseException) -> str:
    """Say in one line what a call did instead of returning."""
    if isinstance(error, SystemExit):
        return f"ended the program (sys.exit with {one_line(repr(error.code))})"
    if isinstance(error, WrongAnswer):
        return one_line(error)
    return f"raised {type(error).__name__}: {one_line(error)}".removesuffix(": ")
