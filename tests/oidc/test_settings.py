"""The sign-in service in the environment: whole, or not at all, and its secret in no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.callers.identity_provider import IdentityProvider
from gateway.cli.oidc import oidc_in
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.settings import OidcSettings

WHOLE = {
    "JOBGATE_OIDC_ISSUER": "https://login.example.com",
    "JOBGATE_OIDC_CLIENT_ID": "gateway",
    "JOBGATE_OIDC_ROLES": "people=viewer",
}


def test_without_any_of_it_there_is_no_service() -> None:
    assert oidc_in({"JOBGATE_PORT": "4000", "JOBGATE_OIDC_ISSUER": " "}) is None


def test_all_of_it_is_a_service_and_its_secret_is_not_shown() -> None:
    found = oidc_in({**WHOLE, "JOBGATE_OIDC_CLIENT_SECRET": "canary"})

    assert found is not None
    assert (found.client_secret, found.groups_claim) == ("canary", "groups")
    assert "canary" not in repr(found)


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")

    found = oidc_in({**WHOLE, "JOBGATE_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret")})

    assert found is not None
    assert found.client_secret == "from a file"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"JOBGATE_OIDC_ROLES": ""}, "JOBGATE_OIDC_ROLES is missing"),
        ({"JOBGATE_OIDC_ISSUER": ""}, "JOBGATE_OIDC_ISSUER is missing"),
        ({"JOBGATE_OIDC_ISUER": "x"}, "JOBGATE_OIDC_ISUER is not a setting"),
        ({"JOBGATE_OIDC_SCOPE": "profile"}, "it has to contain openid"),
        ({"JOBGATE_OIDC_CLIENT_SECRET_FILE": "/nowhere/x"}, "No such file"),
        (
            {"JOBGATE_OIDC_CLIENT_SECRET": "x", "JOBGATE_OIDC_CLIENT_SECRET_FILE": "y"},
            "set one of them",
        ),
    ],
)
def test_half_of_it_does_not_start(change: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        oidc_in({**WHOLE, **change})

    assert says in str(refused.value)


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.com",
        "login.example.com",
        "https://",
        "https://user:password@login.example.com",
        "file:///etc/passwd",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
    ],
)
def test_an_issuer_that_somebody_could_stand_in_for_does_not_start(issuer: str) -> None:
    settings = OidcSettings(issuer=issuer, client_id="gateway", roles="people=viewer")

    with pytest.raises(ConfigurationError) as refused:
        IdentityProvider(settings, SystemClock())

    assert "https://" in str(refused.value)
