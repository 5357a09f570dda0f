"""A thousand tasks that wait for each other: for docs/debugging.md.

Each takes the lock and keeps it while it waits for a reply that nobody sends.
"""

import asyncio

import copool.aio
from copool.aio import await_

lock, replies = asyncio.Lock(), asyncio.Queue[str]()


def fetch() -> str:
    await_(lock.acquire())
    try:
        return await_(replies.get())
    finally:
        lock.release()


async def worker() -> None:
    fetch()


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(1000):
            group.create_task(worker(), name=f"worker-{number}")


copool.aio.run(main())
