"""A gateway for all the attacks of one file, which leave it as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stories.front_door import House, a_house


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for a file, as its gateway runs in it."""
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway whose books are audited when the file is through."""
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened
