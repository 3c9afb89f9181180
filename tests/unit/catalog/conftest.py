from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.catalog_service import CatalogService, running_catalog


@pytest.fixture
async def zoo(tmp_path: Path) -> AsyncIterator[CatalogService]:
    async with running_catalog(tmp_path) as service:
        yield service
