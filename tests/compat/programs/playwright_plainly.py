"""Playwright's asynchronous API in plain functions, for pytest: with Debian's Chromium.

Its pages come from the loop in which plain functions wait for them.
"""

import asyncio
import functools
import os
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import plain_playwright as example
import psutil
import pytest
from playwright.async_api import Error, TimeoutError, async_playwright, expect

import copool.aio
from copool.aio import await_, enter, run_sync

CHROMIUM = example.CHROMIUM
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM["executable_path"]).exists(),
    reason="needs Debian's Chromium: apt-get install chromium",
)
PATIENCE = 60

# Playwright's greenlets are those of its synchronous API.
ANYWHERE = functools.partial(copool.aio.new_event_loop, foreign_greenlets=True)
MODES = {"anywhere": ANYWHERE, "run_sync": None}


async def call(fn, *args):
    """What a plain function returns, which may wait."""
    if copool.aio.installed():
        return fn(*args)
    return await run_sync(fn, *args)


class Site:
    """A server in this loop. Who asks for /held is not answered."""

    def __init__(self):
        self.held, self.both = asyncio.Event(), asyncio.Barrier(2)
        self.tasks = set()

    async def answer(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        # The browser also opens connections that it then has no use for.
        with suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            body = (await self.page(path)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            await writer.drain()
        writer.close()

    async def page(self, path):
        if path == "/held":
            self.held.set()
            await asyncio.Event().wait()
        if path.startswith("/together"):
            await self.both.wait()
        return f"<title>{path}</title><p>one<p>two<button>Go</button>"


@asynccontextmanager
async def serving():
    site = Site()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()
        for task in site.tasks:
            task.cancel()


# --- the recipe: await_() around each call --------------------------------------------


@pytest.fixture(scope="module", params=MODES)
def runner(request):
    with asyncio.Runner(loop_factory=MODES[request.param]) as runner:
        yield runner


@pytest.fixture(scope="module")
def browser(runner):
    async def start():
        playwright = await async_playwright().start()
        return playwright, await playwright.chromium.launch(**CHROMIUM)

    async def stop(playwright, browser):
        await browser.close()
        await playwright.stop()

    started = runner.run(start())
    yield started[1]
    runner.run(stop(*started))


@pytest.fixture
def run(runner):
    """Run a plain function with a site in the loop."""

    async def main(fn):
        async with asyncio.timeout(PATIENCE), serving() as site:
            return await call(fn, site)

    return lambda fn: runner.run(main(fn))


def test_a_plain_function_uses_a_page(run, browser):
    def look(site):
        with enter(await_(browser.new_page())) as page:
            await_(page.goto(f"{site.url}/page"))
            with enter(page.expect_console_message()) as message:
                await_(page.evaluate("console.log('went')"))
            said = await_(message.value).text
            paragraphs = await_(page.locator("p").all())
            texts = [await_(found.inner_text()) for found in paragraphs]
            return await_(page.title()), texts[0], said

    assert run(look) == ("/page", "one", "went")


def test_two_tasks_use_a_page_each_at_the_same_time(run, browser):
    def look(site, name):
        with enter(await_(browser.new_page())) as page:
            await_(page.goto(f"{site.url}/together/{name}"))
            return await_(page.title())

    def both(site):
        tasks = [call(look, site, name) for name in "ab"]
        return await_(asyncio.gather(*tasks))

    assert run(both) == ["/together/a", "/together/b"]


def test_handlers_and_predicates_that_wait_are_tasks(run, browser):
    def look(site):
        def serve(route):
            await_(route.fulfill(body=await_(route.request.all_headers())["accept"]))

        def is_long(response):
            return len(await_(response.text())) > 5

        with enter(await_(browser.new_page())) as page:
            await_(page.route("**/served", lambda route: run_sync(serve, route)))
            expected = page.expect_response(lambda found: run_sync(is_long, found))
            with enter(expected) as response:
                await_(page.goto(f"{site.url}/served"))
            return await_(await_(response.value).text()).startswith("text/html")

    assert run(look)


def test_what_takes_too_long_is_a_timeout_after_which_the_page_works(run, browser):
    def look(site):
        with enter(await_(browser.new_page())) as page:
            await_(page.goto(f"{site.url}/page"))
            with pytest.raises(TimeoutError, match="Timeout 50ms exceeded"):
                await_(page.click("#missing", timeout=50))
            with pytest.raises(AssertionError, match="Locator expected to have text"):
                await_(expect(page.locator("button")).to_have_text("No", timeout=50))
            with pytest.raises(Error, match="thrown in the page"):
                await_(page.evaluate("() => { throw Error('thrown in the page') }"))
            return await_(page.locator("button").inner_text())

    assert run(look) == "Go"


# --- cancelled in the middle ----------------------------------------------------------


class Processes:
    """Those that a test starts, and what these start."""

    def __init__(self):
        self.before = psutil.Process().children()
        self.known, self.sessions = set(), set()

    def remember(self):
        """Return how many there are; Chromium has a session of its own."""
        for child in psutil.Process().children():
            if child not in self.before:
                self.known |= {child, *child.children(recursive=True)}
        sessions = {os.getsid(process.pid) for process in self.known}
        self.sessions = sessions - {os.getsid(0)}
        return len(self.known)

    def left(self):
        return [process for process in psutil.process_iter() if self.has(process)]

    def has(self, process):
        try:
            is_theirs = os.getsid(process.pid) in self.sessions
            if process in self.known or is_theirs:
                return process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
        return False

    async def end(self):
        while self.left():
            await asyncio.sleep(0.01)


@pytest.fixture
def processes():
    return Processes()


def in_a_task(mode, main):
    """Run a program in a loop of its own."""

    async def limited():
        async with asyncio.timeout(PATIENCE):
            await main()

    with asyncio.Runner(loop_factory=MODES[mode]) as runner:
        runner.run(limited())


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("mode", MODES)
def test_one_that_is_cancelled_while_a_page_loads_leaves_no_process(mode, processes):
    seen = []

    def look(site):
        with enter(async_playwright()) as playwright:
            browser = await_(playwright.chromium.launch(**CHROMIUM))
            page = await_(browser.new_page())
            try:
                await_(page.goto(f"{site.url}/held"))
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                await_(page.close())
                seen.append(page.is_closed())

    async def main():
        async with serving() as site:
            task = asyncio.create_task(call(look, site))
            await site.held.wait()
            assert processes.remember() > 2
            await cancelled(task)
            await processes.end()

    in_a_task(mode, main)
    assert seen == ["cancelled", True]


def test_one_that_is_cancelled_while_the_browser_starts_leaves_no_process(
    processes, tmp_path
):
    never_ready = tmp_path / "chromium"
    never_ready.write_text(f"#!/bin/sh\n: > {tmp_path}/started\nexec sleep 1000\n")
    never_ready.chmod(0o755)

    def look():
        with enter(async_playwright()) as playwright:
            await_(playwright.chromium.launch(executable_path=never_ready))

    async def main():
        task = asyncio.create_task(call(look))
        while not (tmp_path / "started").exists():
            await asyncio.sleep(0.01)
        assert processes.remember() > 1
        await cancelled(task)
        await processes.end()

    in_a_task("anywhere", main)


# --- the example, whose objects wait by themselves ------------------------------------


@pytest.fixture
def page_of(browser):
    @contextmanager
    def page_of(site):
        with example.plain(browser).new_page() as page:
            page.goto(f"{site.url}/page")
            yield page

    return page_of


def test_handlers_of_routes_bindings_and_events_wait(run, page_of):
    def look(site):
        console, dialogs = asyncio.Queue(), asyncio.Queue()

        def serve(route):
            answer = route.fetch(url=f"{site.url}/other")
            route.fulfill(response=answer, body=answer.text().upper())

        def hear(message):
            console.put_nowait([arg.json_value() for arg in message.args])

        def agree(dialog):
            dialog.accept("yes")
            dialogs.put_nowait(dialog.message)

        with page_of(site) as page:
            page.route("**/served", serve)
            page.on("console", hear)
            page.once("dialog", agree)
            page.expose_binding("title", lambda source: source["page"].title())
            page.goto(f"{site.url}/served")
            page.evaluate("console.log(1, 'a')")
            answers = page.evaluate("async () => [prompt('Sure?'), await title()]")
            return answers, await_(console.get()), await_(dialogs.get())

    assert run(look) == (["yes", "/OTHER"], [1, "a"], "Sure?")


def test_a_listener_that_is_removed_hears_no_more(run, page_of):
    def look(site):
        heard = []

        def hear(message):
            heard.append(message.text)

        with page_of(site) as page:
            page.on("console", hear)
            for text in ("one", "two"):
                with page.expect_console_message():
                    page.evaluate(f"console.log('{text}')")
                page.title()  # by then all listeners have been called
                page.remove_listener("console", hear) if text == "one" else None
        return heard

    assert run(look) == ["one"]


def test_predicates_wait(run, page_of):
    def look(site):
        def is_other(response):
            return response.ok and "/other" in response.text()

        def is_b(message):
            return message.args[0].json_value() == "b"

        with page_of(site) as page:
            with page.expect_response(is_other) as response:
                page.evaluate(
                    "async () => { await fetch('/page'); await fetch('/other') }"
                )
            with page.expect_event("console", is_b) as message:
                page.evaluate("() => { console.log('a'); console.log('b') }")
            return response.value.url == f"{site.url}/other", message.value.text

    assert run(look) == (True, "b")


def test_properties_lists_and_errors_are_those_of_playwright(run, page_of):
    def look(site):
        with page_of(site) as page:
            pages = page.context.pages
            texts = [found.inner_text() for found in page.locator("p").all()]
            example.plain(expect)(page.locator("button")).to_have_text("Go")
            with pytest.raises(TimeoutError):
                page.click("#missing", timeout=50)
            return page.main_frame.page == page, page in pages, page.url, texts[:1]

    is_page, is_there, url, texts = run(look)
    assert (is_page, is_there, url.endswith("/page"), texts) == (
        True,
        True,
        True,
        ["one"],
    )


def test_the_example_prints_what_it_has_looked_up():
    done = subprocess.run(
        [sys.executable, example.__file__],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        [f"{word}: {meaning}" for word, meaning in example.MEANINGS.items()],
    )
