"""The sign-in service in the environment: JOBGATE_OIDC_… and never an option, because a secret has
no place on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.settings import OidcSettings

PREFIX = "JOBGATE_OIDC_"
NAMES = frozenset(
    {
        "ISSUER",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "CLIENT_SECRET_FILE",
        "ROLES",
        "GROUPS_CLAIM",
        "SCOPE",
    }
)


def oidc_in(environment: Mapping[str, str]) -> OidcSettings | None:
    """The settings; None when there are none. Raises ConfigurationError for half of them."""
    given = {
        name.removeprefix(PREFIX): value.strip()
        for name, value in environment.items()
        if name.startswith(PREFIX) and value.strip()
    }
    if not given:
        return None
    problems = [f"{PREFIX}{name} is not a setting" for name in sorted(given.keys() - NAMES)]
    missing = [name for name in ("ISSUER", "CLIENT_ID", "ROLES") if name not in given]
    problems += [f"{PREFIX}{name} is missing: a sign-in service needs it" for name in missing]
    if {"CLIENT_SECRET", "CLIENT_SECRET_FILE"} <= given.keys():
        problems.append(f"{PREFIX}CLIENT_SECRET and {PREFIX}CLIENT_SECRET_FILE: set one of them")
    if "openid" not in given.get("SCOPE", "openid").split():
        problems.append(f"{PREFIX}SCOPE: it has to contain openid")
    if problems:
        raise ConfigurationError(problems)
    secret = given.get("CLIENT_SECRET", "")
    if "CLIENT_SECRET_FILE" in given:
        secret = _read(Path(given["CLIENT_SECRET_FILE"]))
    return OidcSettings(
        issuer=given["ISSUER"],
        client_id=given["CLIENT_ID"],
        client_secret=secret,
        roles=given["ROLES"],
        groups_claim=given.get("GROUPS_CLAIM", "groups"),
        scope=given.get("SCOPE", "openid profile email"),
    )


def _read(path: Path) -> str:
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError([f"{PREFIX}CLIENT_SECRET_FILE: {path}: {why}"]) from None
    if not secret:
        raise ConfigurationError([f"{PREFIX}CLIENT_SECRET_FILE: {path} is empty"])
    return secret
