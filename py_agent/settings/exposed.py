"""Which files hold secrets, and whether others than their owner may open them."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path

from pydantic_settings import BaseSettings

from ..errors import ConfigError
from .secret_types import secret_fields
from .stored import credentials, is_of_systemd, secret_files

READERS = stat.S_IRGRP | stat.S_IROTH
WRITERS = stat.S_IWGRP | stat.S_IWOTH


def secret_credentials(classes: Iterable[type[BaseSettings]]) -> Path | None:
    """Return the file of credentials if it holds a secret of any of these classes."""
    for cls in classes:
        try:
            found = credentials(cls, secret_fields(cls))
        except ConfigError:
            return None  # told with what is to be read from it
        if found.section or found.variables:
            return found.path
    return None


def files_of_secrets(classes: Iterable[type[BaseSettings]]) -> list[Path]:
    """Return the files in directories of secrets that hold secrets of these classes."""
    found: dict[Path, None] = {}
    for cls in classes:
        try:
            found.update(dict.fromkeys(secret_files(cls, secret_fields(cls)).values()))
        except ConfigError:
            continue  # told with what is to be read from them
    return list(found)


def changeable(path: Path) -> str:
    """Return the sentence about a file in a directory of secrets; "" if all is well.

    Docker and Kubernetes let all read such files, and nobody write them: they have modes
    without `w`, or lie on what is mounted to be read only. Those of systemd are left alone.
    """
    try:
        writable = path.stat().st_mode & WRITERS
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return ""
    if not writable or read_only or is_of_systemd(path):
        return ""
    return (
        f"{path} holds a secret, and others than its owner may write it: "
        f"chmod go-w {shlex.quote(str(path))}"
    )


def exposure(path: Path) -> str:
    """Return the sentence about a file with secrets; "" if only its owner may open it.

    The files that systemd has made have modes of their own and are left alone.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    readable, writable = bool(mode & READERS), bool(mode & WRITERS)
    if not (readable or writable) or is_of_systemd(path):
        return ""
    may = " and ".join(["read"] * readable + ["write"] * writable)
    return (
        f"{path} holds secrets, and others than its owner may {may} it: "
        f"chmod 600 {shlex.quote(str(path))}"
    )
