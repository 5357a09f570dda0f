#!/usr/bin/env bash
# Playwright for Python leaves its driver running if it is cancelled while it starts.
#
# Guess: `async with async_playwright()` ends the driver, a process of Node.js, when
# it is cancelled before the block begins; or else asyncio.run() does when it cancels
# the task that reads from the driver, and closes the loop.
# Seen: the driver runs on, after the loop is closed too, until this process ends:
# __aexit__() is not called where __aenter__() raises, and nobody else stops it. So a
# service that starts it below a timeout collects processes. Cancelled in the block,
# it ends. Playwright 1.65.2, no browser needed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" --quiet --disable-pip-version-check install playwright==1.65.2

"$folder/bin/python" - <<'PYTHON'
import asyncio
import os
import sys
import time
from pathlib import Path

from playwright.async_api import async_playwright

PATIENCE = 5


def drivers():
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    states = [Path(f"/proc/{child}/stat").read_text() for child in children]
    return sum(state.rpartition(") ")[2][0] != "Z" for state in states)


async def use(begun):
    async with async_playwright():
        begun.set()
        await asyncio.sleep(60)


async def cancel(*, once_begun):
    """How many drivers there are a while after a task that has one was cancelled."""
    begun = asyncio.Event()
    task = asyncio.create_task(use(begun))
    if once_begun:
        await begun.wait()
    while not drivers():
        await asyncio.sleep(0)
    for _ in range(20):  # until it waits for what the driver says
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    deadline = time.monotonic() + PATIENCE
    while drivers() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return drivers()


seen = [asyncio.run(cancel(once_begun=True)), asyncio.run(cancel(once_begun=False))]
time.sleep(1)
seen.append(drivers())
print("Python", sys.version.split()[0])
print(f"cancelled in the block: {seen[0]}; while it starts: {seen[1]} left")
print(f"after the loop is closed: {seen[2]} left")
sys.exit(seen != [0, 1, 1])
PYTHON
