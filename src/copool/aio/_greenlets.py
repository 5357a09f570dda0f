"""Keeps greenlets that share one stack away from tasks that are on several."""

import copool.greenlet
from copool._activation import foreign, in_main_interpreter


def put_ours_in_place() -> None:
    """Let `import greenlet` give copool's; raise RuntimeError if there is another."""
    if module := foreign():
        raise RuntimeError(
            f"greenlet is already imported, from {module.__file__!r}, and its "
            "greenlets can't be used below tasks on stacks of their own, as those of "
            "SQLAlchemy's asyncio would be: call copool.greenlet.install() before "
            "anything imports greenlet, or start the program with 'copool run'; or "
            "promise that no task uses any, with foreign_greenlets=True"
        )
    if in_main_interpreter():
        copool.greenlet.install(children=False)
