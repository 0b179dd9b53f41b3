"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from pathlib import Path

from segdec.errors import OutputError

_REASONS = {
    errno.EACCES: "no permission; change its rights or choose another place",
    errno.EPERM: "no permission; change its rights or choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOSPC: "no space left on the disk; free some or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EISDIR: "a folder of that name exists; choose another name",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another place",
    errno.EEXIST: "a file stands where a folder is needed; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file so that every reader, also after a crash, sees the old content or the new one.

    Parameters
    ----------
    path
        The file; missing folders on the way are made.
    data
        Its content.

    Raises
    ------
    OutputError
        If it cannot be written, with the reason; an old file of that name is then unchanged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "score.txt"
    >>> atomic_write(path, b"0.25")
    >>> path.read_bytes()
    b'0.25'
    """
    temporary = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_durably(temporary, data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it.

    Parameters
    ----------
    path
        A file that does not exist yet, in a folder that does.
    data
        Its content.

    Raises
    ------
    OSError
        As the system reports it: the caller knows which name to tell (`output_error`).
    """
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())  # a rename may reach the disk before the content does


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, hexadecimal: how files are told apart.

    Parameters
    ----------
    data
        Any bytes.

    Examples
    --------
    >>> sha256(b"")[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(data).hexdigest()


def output_error(path: Path, error: OSError) -> OutputError:
    """Say in one sentence why something could not be written.

    Parameters
    ----------
    path
        What was to be written.
    error
        What the system reported.

    Returns
    -------
    OutputError
        To be raised by the caller.

    Examples
    --------
    >>> print(output_error(Path("runs/a"), OSError(errno.ENOSPC, "")))
    cannot write runs/a: no space left on the disk; free some or choose another place
    """
    reason = _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
    return OutputError(f"cannot write {path}: {reason}")
