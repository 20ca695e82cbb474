"""When the part that speaks to a sign-in service gets into the process: when one is configured.

Importing what it stands on takes a second, and most gateways have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from gateway.callers.people import Person
from gateway.clock import Clock
from gateway.settings import OidcSettings


class SignInService(Protocol):
    """A service that vouches for people; see `identity_provider`."""

    async def way_there(self, back: str, secret: str) -> str:
        """Where a browser is sent, to return to `back`."""
        ...

    async def person(self, told: Mapping[str, str], back: str, secret: str) -> Person:
        """Who has come back."""
        ...


def load_sign_in(settings: OidcSettings | None, clock: Clock) -> SignInService | None:
    """The service in the settings, if there is one. Raises ConfigurationError."""
    if settings is None:
        return None
    made: SignInService = import_module("gateway.callers.identity_provider").IdentityProvider(
        settings, clock
    )
    return made
