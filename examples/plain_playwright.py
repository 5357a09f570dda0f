"""Playwright inside a running loop, without `await`: call its asynchronous API plainly.

Its synchronous API refuses to work where a loop is running, since it runs a loop of its
own. So this takes the asynchronous one, and waits for each result that is awaitable:

    with plain(async_playwright()) as playwright:
        page = playwright.chromium.launch().new_page()

below `copool.aio.run()`, `install()` or `run_sync()`. Methods and properties, context
managers, handlers of events and routes, `expect()` and predicates work as they do in
the synchronous API. Only a function that is to match an address can't wait.

    python examples/plain_playwright.py

has three tasks look something up in a page at once, in Debian's Chromium. It needs
`pip install playwright`, but no browser of Playwright's.
"""

import asyncio
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

from playwright.async_api import async_playwright, expect

from copool.aio import await_, enter, run_sync

CHROMIUM = {
    "executable_path": "/usr/bin/chromium",
    "args": ["--no-sandbox"] if os.geteuid() == 0 else [],
}
# Functions given for these are called with an address, and asked for a truth at once.
ADDRESSES = {"url", "url_or_re"}


def plain(value: Any) -> Any:
    """Wait for what is awaitable; let the methods of Playwright's objects wait."""
    if inspect.isawaitable(value):
        value = await_(value)
    return _each(_wrapped, value)


class Plain:
    """An object of Playwright's, or a method of one."""

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs

    def __getattr__(self, name: str) -> Any:
        return plain(getattr(self._theirs, name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(self._theirs).bind(*args, **kwargs)
        for name, value in given.arguments.items():
            if name not in ADDRESSES:
                given.arguments[name] = _each(_theirs, value)
        return plain(self._theirs(*given.args, **given.kwargs))

    def __enter__(self) -> Any:
        self._entered = enter(self._theirs)
        return plain(self._entered.__enter__())

    def __exit__(self, *error: Any) -> bool | None:
        return self._entered.__exit__(*error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other._theirs == self._theirs

    def __hash__(self) -> int:
        return hash(self._theirs)

    def __repr__(self) -> str:
        return repr(self._theirs)


def _each(convert: Callable[[Any], Any], value: Any) -> Any:
    """Convert a value, or those in a list or dictionary."""
    if type(value) is dict:
        return {key: convert(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(convert, value))
    return convert(value)


def _wrapped(value: Any) -> Any:
    is_theirs = type(value).__module__.startswith("playwright.")
    is_theirs = is_theirs and not isinstance(value, BaseException)
    return Plain(value) if is_theirs or inspect.ismethod(value) else value


def _theirs(value: Any) -> Any:
    if isinstance(value, Plain):
        return value._theirs
    return _in_a_task(value) if callable(value) else value


@functools.cache  # since `remove_listener()` looks for the same one
def _in_a_task(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let a handler wait: Playwright makes a task for what it returns.

    It calls handlers where it reads what the browser sends, which must go on.
    """

    def call(*args: Any) -> Any:
        return run_sync(lambda: _each(_theirs, handler(*(plain(arg) for arg in args))))

    # Handlers are given as many arguments as they take.
    call.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined]
    return call


# --- the program ----------------------------------------------------------------------

PAGE = """\
<title>Instruments</title>
<form action="/found">
<label>Word <input name="word"></label><button>Look up</button>
</form>
<p role="status">{}</p>
"""
MEANINGS = {
    "crwth": "a lyre with a bow",
    "serpent": "a bass of wood and leather",
    "zink": "a horn with holes for fingers",
}


def serve(route: Any, request: Any) -> None:
    """Answer for the address that there is no server at."""
    word = request.url.partition("word=")[2]
    body = PAGE.format(MEANINGS.get(word, ""))
    route.fulfill(body=body, content_type="text/html")


def look_up(browser: Any, word: str) -> str:
    """Use a page, in plain calls."""
    with browser.new_page() as page:
        page.route("http://instruments.test/**", serve)
        page.goto("http://instruments.test/")
        page.get_by_label("Word").fill(word)
        with page.expect_response("**/found?*") as response:
            page.get_by_role("button", name="Look up").click()
        assert response.value.status == 200
        status = page.get_by_role("status")
        plain(expect)(status).not_to_be_empty()
        return f"{word}: {status.inner_text()}"


def look_all_up() -> list[str]:
    """Start the browser, and have a task look up each word."""
    with (
        plain(async_playwright()) as playwright,
        playwright.chromium.launch(**CHROMIUM) as browser,
    ):
        tasks = [run_sync(look_up, browser, word) for word in MEANINGS]
        return await_(asyncio.gather(*tasks))


if __name__ == "__main__":
    print(*asyncio.run(run_sync(look_all_up)), sep="\n")
