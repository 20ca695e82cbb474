"""A gateway whose alerts go to a webhook of the test, and what tests do with it."""

from __future__ import annotations

from typing import Any

import openai

from tests.gateways import SECRETS, RunningGateway, routes_for
from tests.scripted import Script

QUESTION = [{"role": "user", "content": "canary-of-the-prompt"}]
SECRET = "a-secret-that-signs"
ENVIRONMENT = {**SECRETS, "HOOK_SECRET": SECRET}
ANSWER = Script(text="canary-of-the-answer", input=10, output=1000)
COST = 10 * 2_500 + 1000 * 10_000
"""Nano-dollars of one ANSWER of the job extraction: about a cent."""
HARD = """
  brands: {scope: each team, limit: 0.10025 USD, period: month, contact: fin@x.com}"""
"""Ten answers."""
BUDGETS = HARD.replace("}", ", enforce: warn}")


def telling(provider_url: str, hook: str, *, budgets: str = BUDGETS, more: str = "") -> str:
    """A routes.yaml with one destination; `more` are further lines of `alerts`, indented by 2."""
    routes = routes_for(provider_url, budgets=budgets)
    return f"""{routes}
alerts:
  destinations:
    finance: {{kind: webhook, url: "{hook}", secret_env: HOOK_SECRET}}
{more}"""


async def spend(gateway: RunningGateway, key: str, times: int = 1, **more: Any) -> list[int]:
    """Ask so many times; the statuses."""
    client, statuses = gateway.client(key), []
    for _ in range(times):
        try:
            await client.chat.completions.create(
                **{"model": "extraction", "messages": QUESTION, "max_tokens": 1000, **more}
            )
            statuses.append(200)
        except openai.APIStatusError as error:
            statuses.append(error.status_code)
    return statuses
