"""petset at work, as a process: `python -m bench.keeper KUBECONFIG`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bench.control import answer_for_ever, resident_bytes
from operatorkit._runtime import Engine
from operatorkit.cluster import LiveCluster, load_config
from operators.petset import app

__all__: list[str] = []


async def _main() -> None:
    async with LiveCluster(load_config(Path(sys.argv[1]))) as api:
        engine = Engine(app, api)

        async def ready() -> bool:
            return engine.is_ready

        async def memory() -> int:
            return resident_bytes()

        running = asyncio.create_task(engine.run())
        answering = asyncio.create_task(answer_for_ever({"ready": ready, "memory": memory}))
        await asyncio.wait({running, answering}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()


if __name__ == "__main__":
    asyncio.run(_main())
