"""Who sits at the command line: what the log of changes says of what is done there."""

from __future__ import annotations

import getpass
import os
import socket

from gateway.callers.changes import By


def typed_by(author: str = "") -> By:
    """Whoever typed this: the author they name, else the account; the place has the account too.

    Whoever has the database in their hands needs no role, so none is said.
    """
    account = _account()
    return By(author.strip() or account, "", f"command line of {account}@{socket.gethostname()}")


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"uid {os.getuid()}"  # a container whose user has no name
