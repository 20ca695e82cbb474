"""The API keys of providers: from the environment or from files, read once at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.errors import ConfigurationError, NoCredential
from gateway.jobs.routes import Provider


class Credentials:
    """API keys by provider; never printed, never stored."""

    def __init__(self, providers: Mapping[str, Provider], environment: Mapping[str, str]) -> None:
        self._keys: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        for name, provider in providers.items():
            key = _read(provider, environment)
            if key:
                self._keys[name] = key
            elif provider.api_key_env or provider.api_key_file:
                self._missing[name] = _where(provider)

    def of(self, provider: str) -> str | None:
        """The API key of a provider; None for one that needs none. Raises NoCredential."""
        key = self._keys.get(provider)
        if key is None and provider in self._missing:
            raise NoCredential(
                f"provider {provider!r} has no API key: set {self._missing[provider]} and restart"
            )
        return key

    def missing(self, provider: str) -> str | None:
        """What would have to be set for a provider that lacks its API key."""
        return self._missing.get(provider)

    def __repr__(self) -> str:
        return f"Credentials(for {', '.join(sorted(self._keys)) or 'nobody'})"


def _read(provider: Provider, environment: Mapping[str, str]) -> str | None:
    """The key, which has to fit on one line of a request. Raises ConfigurationError."""
    key = _found(provider, environment)
    if key and not key.isprintable():
        said = f"{provider.name}: the API key in {_where(provider)} is more than one line of text"
        raise ConfigurationError([said])
    return key


def _found(provider: Provider, environment: Mapping[str, str]) -> str | None:
    if provider.api_key_env and (key := environment.get(provider.api_key_env, "").strip()):
        return key
    if provider.api_key_file:
        try:
            return Path(provider.api_key_file).read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(
                [f"{provider.name}: {provider.api_key_file} cannot be read: {error.strerror}"]
            ) from None
    return None


def _where(provider: Provider) -> str:
    if provider.api_key_env:
        return f"the environment variable {provider.api_key_env}"
    return f"the file {provider.api_key_file}"
