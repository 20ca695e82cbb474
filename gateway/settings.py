"""How one gateway process is run: everything that is not in routes.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_DATABASE = "sqlite:///var/jobgate.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """A sign-in service for the pages: JOBGATE_OIDC_… in the environment."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    """Empty for a public client, which proves itself by PKCE alone."""
    roles: str
    """Which group gives which role, such as "finance-people=finance; brand=viewer@brand"."""
    groups_claim: str = "groups"
    scope: str = "openid profile email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Set on the command line or as JOBGATE_… in the environment; see `jobgate serve --help`."""

    routes: Path = Path("routes.yaml")
    database_url: str = DEFAULT_DATABASE
    host: str = "127.0.0.1"
    port: int = 4000
    office_address: str = ""
    """Host and port for the admin API, the pages, /docs and /metrics; empty for the public ones."""
    public_url: str = ""
    """Where apps, and people unless the office is elsewhere, reach it, such as
    https://jobgate.example.com; what the browser says when empty."""
    office_url: str = ""
    """Where people reach an office that has an address of its own; the same."""
    oidc: OidcSettings | None = None
    org: str = "main"
    """The key under which this organisation's rows stand in the database."""
    full_sync: bool = False
    """SQLite waits for the disk at every commit, so that a power cut loses nothing either."""
    body_bytes_at_most: int = 32 * 1024 * 1024
    shutdown_seconds: int = 30
    """How long requests in flight may go on after SIGTERM."""
