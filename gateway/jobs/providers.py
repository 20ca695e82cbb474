"""Providers as they are reached: addresses that are safe to send a prompt and a key to.

A base_url is a plain http or https address without credentials, query or fragment. An on-prem
provider is one whose address is not a known cloud's, and that no other software stands in for.
The variable JOBGATE_PROVIDER_<NAME>_BASE_URL takes the place of the address in the file, and has
to pass the same checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

from gateway.jobs.document import Path
from gateway.jobs.problems import Problems, nearest
from gateway.jobs.residency import is_public_cloud
from gateway.jobs.routes import Provider, Timeouts
from gateway.jobs.schema import ProviderSection

_PREFIX, _SUFFIX = "JOBGATE_PROVIDER_", "_BASE_URL"
_PRINTABLE = re.compile(r"^[!-~]{1,2048}$")
_PRICED_BY_FLAVOUR = frozenset(
    {"openai", "azure", "mistral", "ollama", "groq", "deepseek", "xai", "openrouter", "gemini"}
)
_NOT_OURS_TO_STATE = frozenset(
    {
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "proxy-authorization",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "x-goog-api-key",
    }
)
"""Headers that carry credentials, which belong in api_key_env, or that frame the request."""


def variable(name: str) -> str:
    """The environment variable that takes the place of a provider's base_url."""
    return f"{_PREFIX}{name.upper().replace('-', '_')}{_SUFFIX}"


def overrides_of_nobody(
    names: Iterable[str], environment: Mapping[str, str], problems: Problems
) -> None:
    """Warn of variables that look like an override and name no provider, or two."""
    known: dict[str, str] = {}
    for name in sorted(names):
        other = known.setdefault(variable(name), name)
        if other != name:
            said = f"has the same environment variable as {other!r}: {variable(name)}"
            problems.add(("providers", name), said)
    for given in sorted(environment):
        if given.startswith(_PREFIX) and given.endswith(_SUFFIX) and given not in known:
            hint = nearest(given, known)
            problems.warn(("providers",), f"the variable {given[:99]} names no provider{hint}")


def provider(
    name: str, section: ProviderSection, environment: Mapping[str, str], problems: Problems
) -> Provider | None:
    """The provider that a section means, or None when something in it is wrong."""
    before = len(problems.found)
    path: Path = ("providers", name)
    if section.flavour is not None and section.wire != "openai":
        problems.add((*path, "flavour"), f"is for wire openai; wire {section.wire} has none")
    if section.api_key_env is not None and section.api_key_file is not None:
        problems.add(path, "has both api_key_env and api_key_file; state one")
    for header in section.headers:
        if header.lower() in _NOT_OURS_TO_STATE:
            said = "cannot be stated here; an API key belongs in api_key_env or api_key_file"
            problems.add((*path, "headers", header), said)
    _check_litellm(path, section, problems)
    base_url = _base_url(name, section, environment, problems)
    if len(problems.found) > before:
        return None
    flavour = section.flavour or ("generic" if section.wire == "openai" else section.wire)
    stated = section.timeouts.model_dump(exclude_none=True)
    return Provider(
        name=name,
        wire=section.wire,
        flavour=flavour,
        base_url=base_url,
        api_key_env=section.api_key_env,
        api_key_file=section.api_key_file,
        residency=section.residency,
        headers=MappingProxyType(dict(section.headers)),
        litellm_provider=section.litellm_provider,
        price_provider=section.price_provider or _price_provider(name, section, flavour),
        timeouts=replace(Timeouts(), **stated),
    )


def _price_provider(name: str, section: ProviderSection, flavour: str) -> str:
    if section.wire == "litellm":
        return section.litellm_provider or name
    if section.wire in ("anthropic", "gemini"):
        return section.wire
    return flavour if flavour in _PRICED_BY_FLAVOUR else name


def _check_litellm(path: Path, section: ProviderSection, problems: Problems) -> None:
    if section.wire != "litellm":
        if section.litellm_provider is not None:
            problems.add((*path, "litellm_provider"), "is for wire litellm alone")
        return
    if section.litellm_provider is None:
        problems.add((*path, "litellm_provider"), "is missing; wire litellm needs it")
    if section.residency == "on_prem":
        said = (
            "an on-prem provider cannot have wire litellm, which may reach addresses of its own; "
            "use openai, anthropic or gemini"
        )
        problems.add((*path, "residency"), said)


def _base_url(
    name: str, section: ProviderSection, environment: Mapping[str, str], problems: Problems
) -> str | None:
    """The address in force, without a slash at its end; problems name where it comes from."""
    path: Path = ("providers", name, "base_url")
    override = environment.get(variable(name))
    url, source = section.base_url, ""
    if override:
        url, source = override, f"{variable(name)} in the environment: "
    if url is None:
        if section.wire != "litellm":
            problems.add(path, "is missing")
        return None
    said = _wrong_with(url, section)
    if said is not None:
        problems.add(path, source + said)
    elif section.residency == "cloud" and url.startswith("http:") and _is_cloud(url):
        problems.warn(path, f"{source}sends the API key and prompts unencrypted; use https")
    return url.rstrip("/")


def _wrong_with(url: str, section: ProviderSection) -> str | None:
    """What is wrong with an address; never repeats it, because it may hold a secret."""
    parts = parts_of(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be an address such as https://api.example.com/v1"
    if parts.username is not None or parts.password is not None:
        return "must not hold credentials; they belong in api_key_env or api_key_file"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "must end with its path, without ? or #"
    if section.residency == "on_prem" and is_public_cloud(parts.hostname):
        return f"{parts.hostname} is a public cloud, so this provider is not on-prem"
    return None


def parts_of(url: str) -> SplitResult | None:
    """The parts of an address; None when it is not one, or has what cannot be printed."""
    if not _PRINTABLE.match(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _is_cloud(url: str) -> bool:
    parts = parts_of(url)
    return parts is not None and is_public_cloud(parts.hostname or "")
