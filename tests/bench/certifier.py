"""pki at work, as a process: `python -m bench.certifier URL TOKEN`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bench.actors import config_of
from bench.control import answer_for_ever
from operatorkit._runtime import Engine
from operatorkit.cluster import LiveCluster, ObjectList
from operatorkit.names import ApiResource
from operators.pki import app

__all__: list[str] = []


class Counting(LiveCluster):
    """A client that counts the pages of lists of Events."""

    pages = 0

    async def list(self, resource: ApiResource, **options: Any) -> ObjectList:
        """Return a page of a list."""
        self.pages += resource.plural == "events"
        return await super().list(resource, **options)


async def _main() -> None:
    async with Counting(config_of(*sys.argv[1:])) as api:
        engine = Engine(app, api)

        async def ready() -> bool:
            return engine.is_ready

        async def pages() -> int:
            return api.pages

        running = asyncio.create_task(engine.run())
        answering = asyncio.create_task(answer_for_ever({"ready": ready, "pages": pages}))
        await asyncio.wait({running, answering}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()


if __name__ == "__main__":
    asyncio.run(_main())
