"""Asking the admin API as somebody with a role."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.stories.front_door import House, Told

ADMIN = "/admin/v1"


@dataclass(frozen=True)
class Desk:
    """One key of somebody with a role."""

    house: House
    key: str

    async def ask(self, method: str, path: str, body: Any = None) -> Told:
        """Any request under /admin/v1."""
        data, headers = None, {}
        if body is not None:
            data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        return await self.house.send(method, ADMIN + path, key=self.key, data=data, **headers)

    async def get(self, path: str) -> Any:
        """What is there."""
        told = await self.ask("GET", path)
        assert told.status == 200, told.raw
        return told.json

    async def make(self, path: str, **body: Any) -> Any:
        """Make something; what was made."""
        told = await self.ask("POST", path, body)
        assert told.status == 201, told.raw
        return told.json


def desk(house: House, role: str = "admin", app: str = "people", **more: Any) -> Desk:
    """A desk for somebody with a role."""
    return Desk(house, house.gateway.key(app=app, role=role, **more))
