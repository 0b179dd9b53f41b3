"""Who works on a run: claims that processes on several machines respect, and that die with their owner.

A run's claims are numbered files, and the one with the highest number holds. A claim is made by creating the
next file, which the file system lets only one process do; nothing is ever deleted, so no process can remove
what another has just made. A claim is over when it was given up, when its process is gone, or when its
heartbeat (the file's time) has stopped.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import uuid
from pathlib import Path
from types import TracebackType

from segdec.files import output_error

STALE_S = 300.0
"""A claim of another machine whose heartbeat is older than this many seconds is over."""

_BEATS = 10
"""Heartbeats in that time."""


class Claim:
    """The right to work on a run, held as long as the ``with`` block lasts.

    Parameters
    ----------
    path
        The claim's file.
    beat_s
        Seconds between two heartbeats.
    """

    def __init__(self, path: Path, beat_s: float) -> None:
        self.path = path
        self._beat_s = beat_s
        self._next = path.with_name(str(int(path.name) + 1))
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"heartbeat {path}", daemon=True)

    def __enter__(self) -> Claim:
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._heart.join()
        if self.path.exists():
            os.utime(self.path, (0, 0))  # given up: free at once

    @property
    def held(self) -> bool:
        """False once another process has taken the run over."""
        return self.path.exists() and not self._next.exists()

    def _beat(self) -> None:
        while self.held and not self._ended.wait(self._beat_s):
            try:
                os.utime(self.path)
            except FileNotFoundError:
                return


def claim(folder: Path, stale_s: float = STALE_S) -> Claim | None:
    """Claim a run, if nobody works on it.

    Parameters
    ----------
    folder
        For the claims of this run; it is made if missing.
    stale_s
        When a heartbeat counts as stopped. Every process that shares the folder must use the same.

    Returns
    -------
    Claim or None
        To be entered by ``with``; None if another process holds the run.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with claim(folder):
    ...     claim(folder) is None
    True
    >>> claim(folder) is None
    False
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        last = max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
        if last and not _is_over(folder / str(last), stale_s):
            return None
        path = folder / str(last + 1)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None  # another process was faster
    except OSError as error:
        raise output_error(folder, error) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"host": host(), "pid": os.getpid()}, stream)
    return Claim(path, stale_s / _BEATS)


def host() -> str:
    """Return what tells this machine's processes apart from all others: name, boot and container.

    Two containers may share a name, but then a process number says nothing from one to the other.
    """
    words = [platform.node()]
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and space.is_symlink():
        words += [boot.read_text(encoding="ascii").strip(), str(space.readlink())]
    return " ".join(words)


def _is_over(path: Path, stale_s: float) -> bool:
    beat = path.stat().st_mtime
    if beat == 0:
        return True  # given up
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        owner = {}  # being written just now, or cut off while it was
    if owner.get("host") == host() and _is_gone(int(owner["pid"])):
        return True
    return _now(path.parent) - beat > stale_s


def _is_gone(pid: int) -> bool:
    if os.name != "posix":
        return False  # elsewhere a signal 0 is no mere question; the heartbeat decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        # a process that ended but was not yet waited for is a zombie; its name may hold spaces
        return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _now(folder: Path) -> float:
    """Return the time by the clock of the file system: those of two machines may differ."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
