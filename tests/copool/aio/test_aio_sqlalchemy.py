"""SQLAlchemy waits wherever `await_()` can, and raises an error where it can't.

On a database of aiosqlite, unless COPOOL_TEST_DATABASE names another one.
"""

import asyncio
import contextlib
import faulthandler
import functools
import gc
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import types
import warnings
import weakref

import greenlet
import jinja2
import pydantic
import pytest
import sqlalchemy
import uvloop
from sqlalchemy import ForeignKey, event, exc, func, inspect, literal, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

import copool
from copool import CoroutineError
from copool._core import _greenlet_names
from copool.aio import CantWait, atomic, await_, lazy_loads, run_sync
from copool.aio._sqlalchemy import _without_waits

URL = os.environ.get("COPOOL_TEST_DATABASE")
api = types.SimpleNamespace(**_greenlet_names())
IS_OURS = greenlet.greenlet is api.greenlet
# What is made to be awaited by what SQLAlchemy then can't await, also without copool.
AS_ALONE = r"Connection\.cursor|AsyncConnection\.connect"
SECONDS = 60  # that any of these tests may take, before it counts as hanging


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "copool_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    story: Mapped[str] = mapped_column(deferred=True)
    addresses: Mapped[list["Address"]] = relationship(
        back_populates="user", order_by="Address.id"
    )
    dynamic: DynamicMapped["Address"] = relationship(viewonly=True)
    write_only: WriteOnlyMapped["Address"] = relationship(viewonly=True)

    @hybrid_property
    def count(self):
        return len(self.addresses)


class Address(Base):
    __tablename__ = "copool_address"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("copool_user.id"))
    text: Mapped[str]
    user: Mapped[User] = relationship(back_populates="addresses")


USERS = 4


def texts_of(n):
    return [f"{n} a", f"{n} b"]


async def fill(url):
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        for n in range(1, USERS + 1):
            session.add(User(id=n, name=f"name {n}", story=f"story {n}"))
            await session.flush()
            for m, text in enumerate(texts_of(n)):
                session.add(Address(id=10 * n + m, user_id=n, text=text))
        await session.commit()
    await engine.dispose()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    if URL:
        asyncio.run(fill(URL))
        return None
    path = tmp_path_factory.mktemp("database") / "filled.db"
    asyncio.run(fill(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def url(filled, tmp_path):
    if URL:
        return URL
    shutil.copy(filled, tmp_path / "test.db")
    return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(autouse=True)
def ends_in_time():
    """A test that hangs ends the process and tells where it was."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def kind_of_greenlet():
    """What SQLAlchemy makes in greenlet_spawn(), without copool."""
    from sqlalchemy.util import concurrency

    if hasattr(concurrency, "_concurrency_shim"):
        return concurrency._concurrency_shim._AsyncIoGreenlet
    return sys.modules["sqlalchemy.util._concurrency_py3k"]._AsyncIoGreenlet


# --- the two ways to make it wait -----------------------------------------------------


async def call_as_it_is(fn, *args):
    return fn(*args)


run_anywhere = functools.partial(copool.aio.run, foreign_greenlets=not IS_OURS)


def run_on_uvloop(main):
    return run_anywhere(main, loop_factory=uvloop.new_event_loop)


MODES = {
    "anywhere": (run_anywhere, call_as_it_is),
    "anywhere on uvloop": (run_on_uvloop, call_as_it_is),
    "below run_sync": (asyncio.run, run_sync),
}


class World:
    """An engine on the filled database, and how a task calls a plain function."""

    def __init__(self, url, call, **options):
        options = {"pool_size": 5, "max_overflow": 0, "pool_timeout": 20} | options
        self.engine = create_async_engine(url, **options)
        self.sessions = async_sessionmaker(self.engine)
        self.call = call

    async def with_user(self, fn, n=1):
        """Call a plain function with a session and a user out of it."""
        async with self.sessions() as session:
            user = await session.get_one(User, n)
            return await self.call(fn, session, user)

    async def is_whole(self, tasks=3):
        """Nothing is checked out, and each connection serves one task at a time."""
        gc.collect()
        assert self.engine.pool.checkedout() == 0

        async def echo(n):
            async with self.sessions() as session:
                for m in range(3):
                    assert (
                        await session.scalar(select(literal(f"{n} {m}"))) == f"{n} {m}"
                    )
                user = await session.get_one(User, 1 + n % USERS)
                assert await self.call(read_addresses, session, user) == texts_of(
                    user.id
                )

        await asyncio.gather(*map(echo, range(tasks)))
        assert self.engine.pool.checkedout() == 0


def run_world(mode, url, test, **options):
    run, call = MODES[mode]

    async def main():
        world = World(url, call, **options)
        try:
            result = await test(world)
            await world.is_whole()
        finally:
            await world.engine.dispose()
        return result

    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* was never awaited")
        # So it is with SQLAlchemy alone, where a cursor can't be waited for.
        warnings.filterwarnings("ignore", f"coroutine '({AS_ALONE})' was never")
        result = run(main())
        gc.collect()
    return result


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def in_world(mode, url):
    """Runs `async def test(world)` on a loop, in each of the modes."""
    return functools.partial(run_world, mode, url)


@pytest.fixture
def anywhere(url):
    return functools.partial(run_world, "anywhere", url)


# --- what waits -----------------------------------------------------------------------


def read_addresses(session, user):
    return [address.text for address in user.addresses]


def is_collection(session, user):
    assert read_addresses(session, user) == texts_of(1)


def is_reference(session, user):
    address = user.addresses[1]
    session.expunge(user)
    session.expire(address, ["user"])
    assert address.user.name == "name 1"
    assert address.user is not user


def is_expired(session, user):
    session.expire(user)
    assert user.name == "name 1"


def is_expired_by_commit(session, user):
    await_(session.commit())
    assert user.name == "name 1"
    assert read_addresses(session, user) == texts_of(1)


def is_expired_by_rollback(session, user):
    session.sync_session.rollback()
    assert user.name == "name 1"


def is_deferred(session, user):
    assert "story" in inspect(user).unloaded
    assert user.story == "story 1"


def is_hybrid(session, user):
    assert user.count == 2


def is_dynamic(session, user):
    assert [a.text for a in user.dynamic.order_by(Address.id)] == texts_of(1)
    assert user.dynamic.filter(Address.text == "1 b").one().text == "1 b"


def is_write_only(session, user):
    found = session.sync_session.scalars(user.write_only.select().order_by(Address.id))
    assert [address.text for address in found] == texts_of(1)


def is_refreshed(session, user):
    user.name = "mine"
    session.sync_session.refresh(user)
    assert user.name == "name 1"


def is_got_through_relationships(session, user):
    address = session.sync_session.get(Address, 21)
    assert address.user.addresses[0].user.addresses[1] is address


def is_the_sync_session(session, user):
    with session.sync_session.begin_nested() as nested:
        assert session.sync_session.scalar(select(func.count(User.id))) == USERS
        nested.rollback()
    assert session.sync_session.query(User).filter_by(id=2).one().name == "name 2"
    assert session.sync_session.connection().scalar(select(literal(3))) == 3


def is_a_flush(session, user):
    """What is new is flushed by a load, with a wait of its own."""
    user.addresses.append(Address(id=1000, text="1 c"))
    session.expire(user, ["name"])
    assert user.name == "name 1"
    count = select(func.count()).where(Address.user_id == 1)
    assert session.sync_session.scalar(count) == 3
    session.sync_session.rollback()
    assert read_addresses(session, user) == texts_of(1)


def is_streamed(session, user):
    rows = session.sync_session.scalars(
        select(Address).order_by(Address.id), execution_options={"yield_per": 3}
    )
    names = [address.user.name for address in rows]
    assert names == [f"name {n}" for n in range(1, USERS + 1) for _ in range(2)]


class AddressModel(pydantic.BaseModel, from_attributes=True):
    text: str


class UserModel(pydantic.BaseModel, from_attributes=True):
    name: str
    story: str
    count: int
    addresses: list[AddressModel]


def is_pydantic(session, user):
    model = UserModel.model_validate(user)
    assert model.model_dump() == {
        "name": "name 1",
        "story": "story 1",
        "count": 2,
        "addresses": [{"text": text} for text in texts_of(1)],
    }
    address = session.sync_session.get(Address, 20)
    pydantic.TypeAdapter(list[UserModel]).validate_python(
        [address.user], from_attributes=True
    )


def is_jinja(session, user):
    page = "{{ user.story }}:{% for a in user.addresses %} {{ a.text }}{% endfor %}"
    page += "{{ user.addresses | map(attribute='user.name') | join(' ') }}"
    rendered = jinja2.Template(page).render(user=user)
    assert rendered == "story 1: 1 a 1 bname 1 name 1"


def is_json(session, user):
    def plain(value):
        if isinstance(value, User):
            return {"story": value.story, "addresses": list(value.addresses)}
        return value.text

    text = json.dumps([user], default=plain)
    assert json.loads(text) == [{"story": "story 1", "addresses": texts_of(1)}]


def is_pickled(session, user):
    class Pickler(pickle.Pickler):
        def reducer_override(self, value):
            if isinstance(value, User):
                return dict, ([("texts", read_addresses(session, value))],)
            return NotImplemented

    file = io.BytesIO()
    Pickler(file).dump([user])
    assert pickle.loads(file.getvalue()) == [{"texts": texts_of(1)}]
    # What SQLAlchemy itself makes of it: what is loaded, and no more.
    session.expire(user)
    copy = pickle.loads(pickle.dumps(user))
    assert inspect(copy).detached
    session.expunge(user)
    session.add(copy)
    assert read_addresses(session, copy) == texts_of(1)


def is_sorted(session, user):
    """In what C code calls, which is stopped in the middle."""
    users = session.sync_session.scalars(select(User)).all()
    by_story = sorted(users, key=lambda user: user.story, reverse=True)
    assert [user.id for user in by_story] == [4, 3, 2, 1]
    assert sum(map(len, map(read_addresses, [session] * USERS, users))) == 2 * USERS


def is_eager(session, user):
    """What is loaded at once is there without a wait."""
    session.sync_session.expunge_all()
    for option in (selectinload, joinedload):
        one = select(User).where(User.id == 3).options(option(User.addresses))
        loaded = session.sync_session.execute(one).unique().scalar_one()
        with atomic():
            assert read_addresses(session, loaded) == texts_of(3)
        session.sync_session.expunge_all()


WAITS = [value for name, value in list(globals().items()) if name.startswith("is_")]


def test_waits(in_world):
    """Each in a session of its own, on an engine that has compiled what it needs."""

    @in_world
    async def test(world):
        for touch in WAITS:
            with noted(touch):
                await world.with_user(touch)


@contextlib.contextmanager
def noted(function):
    """Let an error tell in which one of several it was raised."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in {function.__name__}")
        raise


def as_it_is(call):
    return call()


async def in_task(call):
    return await asyncio.create_task(call())


async def gathered(call):
    first, second = await asyncio.gather(call(), call())
    assert first == second
    return first


async def in_group(call):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call()) for _ in range(2)]
    assert tasks[0].result() == tasks[1].result()
    return tasks[0].result()


async def in_generator(call):
    async def generator():
        yield await call()

    (result,) = [item async for item in generator()]
    return result


async def in_end_of_generator(call):
    found = []

    async def generator():
        try:
            yield 1
        finally:
            found.append(await call())

    async with contextlib.aclosing(generator()) as items:
        await anext(items)
    return found[0]


async def in_exit_callback(call):
    found = []

    async def leave():
        found.append(await call())

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(leave)
    return found[0]


async def in_timeout(call):
    async with asyncio.timeout(SECONDS):
        return await asyncio.wait_for(call(), SECONDS)


async def in_shield(call):
    return await asyncio.shield(call())


BELOW = (
    as_it_is,
    in_task,
    gathered,
    in_group,
    in_generator,
    in_end_of_generator,
    in_exit_callback,
    in_timeout,
    in_shield,
)


def test_waits_below(in_world):
    @in_world
    async def test(world):
        async def call():
            return await world.with_user(read_addresses)

        for below in BELOW:
            with noted(below):
                assert await below(call) == texts_of(1)


def test_a_plain_callback_of_an_exit_stack_waits(anywhere):
    """With run_sync() no plain function is called by it, in anywhere mode each is."""

    @anywhere
    async def test(world):
        found = []
        async with world.sessions() as session:
            user = await session.get_one(User, 1)
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(lambda: found.append(read_addresses(session, user)))
        assert found == [texts_of(1)]


def test_tasks_load_at_the_same_time(in_world):
    @in_world
    async def test(world):
        async def load(n):
            return await world.with_user(read_addresses, 1 + n % USERS)

        loaded = await asyncio.gather(*map(load, range(40)))
        assert loaded == [texts_of(1 + n % USERS) for n in range(40)]


def test_awaited_calls_are_as_ever(in_world):
    """SQLAlchemy's own ways, beside the ones that are no longer needed."""

    @in_world
    async def test(world):
        async with world.sessions.begin() as session:
            user = await session.get_one(User, 2)
            await session.refresh(user, ["addresses"])
            with atomic():
                assert read_addresses(session, user) == texts_of(2)
            session.expire(user)
            assert await session.run_sync(read_addresses, user) == texts_of(2)
            session.expire(user)
            assert await greenlet_spawn(read_addresses, session, user) == texts_of(2)
            rows = await session.stream_scalars(select(User.id).order_by(User.id))
            assert [n async for n in rows] == [1, 2, 3, 4]


def test_no_greenlet_is_made(anywhere, monkeypatch):
    made = []
    monkeypatch.setattr(kind_of_greenlet(), "__init__", lambda *_: made.append(1))

    @anywhere
    async def test(world):
        await world.with_user(is_collection)

    assert not made


# --- cancelling -----------------------------------------------------------------------

# At each wait and turn if there is time, else at one of so many.
STEP = 1 if os.environ.get("COPOOL_EVERY_CANCELLATION") else 4

LOADS = (is_expired, is_collection, is_deferred, is_reference)


async def loads(world, sessions):
    """Several loads, each with several waits; the session is left to the caller."""
    session = world.sessions()
    sessions.append(session)

    def touch():
        user = session.sync_session.get_one(User, 1)
        for load in LOADS:
            load(session, user)
        session.sync_session.close()

    await world.call(touch)


async def is_cancelled_at(world, task, reached):
    """Cancel a task as soon as that is reached; returns whether it has ended before."""
    turns = 0
    waiters = []
    while not task.done():
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is not None and (not waiters or waiters[-1] is not waiter):
            waiters.append(waiter)
        if reached(turns, len(waiters)):
            task.cancel()
            break
        turns += 1
        await asyncio.sleep(0)
    await asyncio.wait([task], timeout=20)
    assert task.done()
    if not task.cancelled():
        task.result()
    return not task.cancelled()


async def can_be_used_after(world, sessions):
    for session in sessions:
        await session.rollback()
        assert await session.scalar(select(literal(7))) == 7
        user = await session.get_one(User, 2)
        assert await world.call(read_addresses, session, user) == texts_of(2)
        await session.close()
    await world.is_whole(2)


MOST_WAITS = 100


def test_cancelled_at_each_wait(in_world):
    """The connection is usable or closed afterwards, and so is the session."""

    async def test(world):
        for k in range(1, MOST_WAITS, STEP):
            sessions = []
            task = asyncio.create_task(loads(world, sessions))
            ended = await is_cancelled_at(world, task, lambda _, waits, k=k: waits == k)
            await can_be_used_after(world, sessions)
            if ended:
                return k
        raise AssertionError("there are more waits")

    # A connection that exists is waited for seven times, at least; a new one more.
    assert in_world(test, pool_size=2) > 7


def test_cancelled_in_each_turn_of_the_loop(in_world):
    @functools.partial(in_world, pool_size=2)
    async def test(world):
        for k in range(0, 40, 2 * STEP):
            sessions = []
            task = asyncio.create_task(loads(world, sessions))
            await is_cancelled_at(world, task, lambda turns, _, k=k: turns == k)
            await can_be_used_after(world, sessions)


def test_cancelled_at_each_wait_for_a_connection_of_the_pool(in_world):
    @functools.partial(in_world, pool_size=1)
    async def test(world):
        for k in range(1, 3 if STEP > 1 else 9):
            sessions = []
            async with world.sessions() as holder:
                await holder.execute(select(1))
                task = asyncio.create_task(loads(world, sessions))
                await is_cancelled_at(world, task, lambda turns, _, k=k: turns == k)
            await can_be_used_after(world, sessions)


def test_timeouts_in_the_middle_of_loads(in_world):
    @functools.partial(in_world, pool_size=2)
    async def test(world):
        outcomes = set()
        for thousandths in (0, 0.5, 2, 8, 9000):
            sessions = []
            try:
                async with asyncio.timeout(thousandths / 1000):
                    await loads(world, sessions)
                outcomes.add("in time")
            except TimeoutError:
                outcomes.add("late")
            await can_be_used_after(world, sessions)
        assert outcomes == {"in time", "late"}


def test_many_are_cancelled_at_once(in_world):
    """Three connections for thirty tasks, a part of which is cancelled anywhere."""

    @functools.partial(in_world, pool_size=3)
    async def test(world):
        chance = random.Random(13)

        async def load(n):
            for _ in range(2):
                n = n % USERS + 1
                assert await world.with_user(read_addresses, n) == texts_of(n)

        for _ in range(4 // STEP):
            tasks = [asyncio.create_task(load(n)) for n in range(30)]
            for task in chance.sample(tasks, 20):
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            kinds = {type(result) for result in results}
            assert kinds <= {type(None), asyncio.CancelledError}
            await world.is_whole()


def test_a_caught_cancellation_leaves_a_session_to_go_on_with(in_world):
    @in_world
    async def test(world):
        def touch(session, user):
            try:
                read_addresses(session, user)
            except asyncio.CancelledError:
                session.sync_session.rollback()
                return read_addresses(session, user)

        async with world.sessions() as session:
            user = await session.get_one(User, 1)
            task = asyncio.create_task(world.call(touch, session, user))
            await is_cancelled_at(world, task, lambda _, waits: waits == 1)
            assert task.result() == texts_of(1)


@pytest.mark.filterwarnings("ignore:The garbage collector")
def test_no_cancellation_is_lost_where_a_connection_is_dropped(in_world):
    """The pool's callback for a lost connection can't pass on what it raises."""

    @in_world
    async def test(world):
        went_on = []

        def drop():
            session = world.sessions()
            session.sync_session.execute(select(1))
            asyncio.get_running_loop().call_soon(task.cancel)
            del session
            gc.collect()
            went_on.append(1)
            await_(asyncio.sleep(0))
            went_on.append(2)

        task = asyncio.create_task(world.call(drop))
        await asyncio.wait([task])
        assert task.cancelled()
        assert went_on == [1]


# --- where it can't -------------------------------------------------------------------


def cause(error):
    """What was raised where there was nothing to wait with."""
    return error.orig if type(error) is exc.StatementError else error


@contextlib.contextmanager
def refused(why):
    """The error is ours and SQLAlchemy's, and says why in our words.

    Where a connection is there already, it comes as the cause of a statement's.
    """
    with pytest.raises(exc.SQLAlchemyError, match=why) as caught:
        yield
    error = cause(caught.value)
    assert type(error) is CantWait
    assert isinstance(error, CoroutineError)
    assert isinstance(error, exc.MissingGreenlet)
    assert "greenlet_spawn has not been called" not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)


def test_the_mark_is_not_seen(in_world):
    """getcurrent() is what it is without SQLAlchemy, also while that calls back."""
    seen = []

    def look(*_):
        current = greenlet.getcurrent()
        ours = api.getcurrent()
        for one in (current, ours):
            seen.append(hasattr(one, "__sqlalchemy_greenlet_provider__"))
            assert type(one) in (greenlet.greenlet, api.greenlet)
            assert one.parent is None

    def touch(session, user):
        look()
        event.listen(session.sync_session, "loaded_as_persistent", look)
        before = len(seen)
        is_collection(session, user)
        assert len(seen) > before
        session.sync_session.run = look

    @in_world
    async def test(world):
        look()
        await world.with_user(touch)

    assert not any(seen)


def test_a_session_that_is_closed(in_world):
    @in_world
    async def test(world):
        async with world.sessions() as session:
            user = await session.get_one(User, 1)

        def touch():
            with pytest.raises(sqlalchemy.orm.exc.DetachedInstanceError):
                read_addresses(session, user)

        await world.call(touch)


def test_a_session_in_two_tasks(in_world):
    """SQLAlchemy's error, the driver's as SQLAlchemy's, or the right answer."""

    async def test(world):
        async with world.sessions() as session:
            users = [await session.get_one(User, n) for n in range(1, 5)]
            results = await asyncio.gather(
                *(world.call(read_addresses, session, user) for user in users),
                return_exceptions=True,
            )
            for user, result in zip((1, 2, 3, 4), results, strict=True):
                assert result == texts_of(user) or isinstance(
                    result, exc.SQLAlchemyError
                )
            with contextlib.suppress(exc.SQLAlchemyError):
                await session.rollback()

    in_world(test)


def test_in_a_thread(in_world):
    @in_world
    async def test(world):
        async with world.sessions() as session:
            user = await session.get_one(User, 1)
            with refused("no task can wait for it"):
                await asyncio.to_thread(read_addresses, session, user)
            # It has waited nowhere, so that nothing is in between.
            assert await world.call(read_addresses, session, user) == texts_of(1)


@pytest.mark.skipif(URL is not None, reason="asyncpg's transports are one thread's")
def test_in_a_thread_with_a_loop_of_its_own(in_world):
    """A connection of aiosqlite's has a thread of its own, any loop may ask it."""

    @in_world
    async def test(world):
        async with world.sessions() as session:
            user = await session.get_one(User, 1)

            def other():
                return asyncio.run(run_sync(read_addresses, session, user))

            try:
                assert await asyncio.to_thread(other) == texts_of(1)
            except (exc.SQLAlchemyError, RuntimeError, OSError):
                await session.invalidate()


class Finalized:
    """Touches an attribute when it goes."""

    def __init__(self, found, *args):
        self.found, self.args = found, args
        self.me = None

    def __del__(self):
        try:
            self.found.append(read_addresses(*self.args))
        except Exception as error:
            self.found.append(error)


def test_in_del_by_the_last_reference(in_world):
    @in_world
    async def test(world):
        def touch(session, user):
            found = []
            Finalized(found, session, user)
            assert found == [texts_of(1)]

        await world.with_user(touch)


def test_in_del_by_the_collector(in_world, collected_by_hand):
    @in_world
    async def test(world):
        def touch(session, user):
            found = []
            garbage = Finalized(found, session, user)
            garbage.me = garbage
            del garbage
            gc.collect()
            with refused("garbage collector"):
                raise found[0]
            assert read_addresses(session, user) == texts_of(1)

        await world.with_user(touch)


def test_in_a_weakref_callback(in_world):
    @in_world
    async def test(world):
        def touch(session, user):
            found = []
            one = Finalized([], session, user)
            watch = weakref.ref(
                one, lambda _: found.append(read_addresses(session, user))
            )
            one.__class__ = types.new_class("Plain")
            del one
            assert found == [texts_of(1)]
            assert watch() is None

        await world.with_user(touch)


def test_in_a_greenlet_of_the_program(in_world):
    @in_world
    async def test(world):
        def touch(session, user):
            other = api.greenlet(read_addresses)
            with refused("greenlet"):
                other.switch(session, user)
            assert read_addresses(session, user) == texts_of(1)

        await world.with_user(touch)


def test_in_a_coroutine_of_the_program(in_world):
    @in_world
    async def test(world):
        def touch(session, user):
            one = copool.Coroutine(read_addresses)
            assert one.enter(session, user) == texts_of(1)

        await world.with_user(touch)


def test_in_a_greenlet_of_sqlalchemys(url):
    """On a loop that copool has nothing to do with, all is as without it."""

    async def main():
        world = World(url, greenlet_spawn)
        await world.with_user(is_collection)
        await world.is_whole()
        await world.engine.dispose()

    asyncio.run(main())


def test_in_atomic(in_world):
    @in_world
    async def test(world):
        def touch(session, user):
            with refused("atomic"), atomic():
                read_addresses(session, user)
            with refused("atomic"), atomic():
                session.sync_session.execute(select(1))
            assert read_addresses(session, user) == texts_of(1)

        await world.with_user(touch)


def test_in_a_callback_of_the_loop(in_world):
    @in_world
    async def test(world):
        loop = asyncio.get_running_loop()
        reported = loop.create_future()
        loop.set_exception_handler(
            lambda _, context: reported.set_result(context["exception"])
        )
        async with world.sessions() as session:
            user = await session.get_one(User, 1)
            loop.call_soon(read_addresses, session, user)
            error = await asyncio.wait_for(reported, 20)
            with refused("no task can wait for it"):
                raise error


def test_in_a_task_that_no_one_has_made_wait():
    """The remedies are named where the loop has heard nothing of copool."""

    async def main():
        engine = create_async_engine("sqlite+aiosqlite://")
        async with AsyncSession(engine) as session:
            with refused("with `await copool.aio.run_sync"):
                session.sync_session.execute(select(1))
        await engine.dispose()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:The garbage collector")
def test_after_the_loop_was_closed(mode, url):
    run, call = MODES[mode]
    kept = []

    async def main():
        world = World(url, call)
        session = world.sessions()
        user = await session.get_one(User, 1)
        assert await call(is_expired, session, user) is None
        kept.extend((session, user))
        # Its connection goes with the loop.
        await session.close()
        session.add(user)
        await world.engine.dispose()

    run(main())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f"coroutine '({AS_ALONE})' was never")
        with refused("no task can wait for it"):
            read_addresses(*kept)
        gc.collect()


def test_nothing_has_to_be_awaited():
    """The error that SQLAlchemy raises where a driver doesn't wait."""

    async def main():
        assert await greenlet_spawn(lambda: 1) == 1
        for error in (exc.AwaitRequired, exc.InvalidRequestError):
            with pytest.raises(error, match="required an async execution"):
                await greenlet_spawn(lambda: 1, _require_await=True)
        with pytest.raises(ZeroDivisionError):
            await greenlet_spawn(lambda: 1 / 0, _require_await=True)
        wait = sqlalchemy.util.await_ if hasattr(sqlalchemy.util, "await_") else None
        wait = wait or sqlalchemy.util.await_only
        assert await greenlet_spawn(wait, asyncio.sleep(0, 5), _require_await=True) == 5

    run_anywhere(main())
    asyncio.run(run_sync(lambda: await_(main())))


def test_who_watches_greenlets_switch_sees_them(monkeypatch):
    """As SQLAlchemy's tests of cancelling do, which it has for others' dialects."""
    kind = kind_of_greenlet()
    seen = []

    def switch(self, *args, **kwargs):
        seen.append(args)
        return greenlet.greenlet.switch(self, *args, **kwargs)

    async def main():
        await greenlet_spawn(seen.append, "without")
        assert seen == ["without"]
        monkeypatch.setattr(kind, "switch", switch, raising=False)
        await greenlet_spawn(seen.append, "with")
        monkeypatch.undo()
        assert seen == ["without", ("with",), "with"]

    asyncio.run(run_sync(lambda: await_(main())))


def test_a_refusal_leaves_no_more_unawaited_than_without_copool(url):
    async def main():
        world = World(url, call_as_it_is)
        async with world.sessions() as session:
            user = await session.get_one(User, 1)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                with pytest.raises(exc.SQLAlchemyError):
                    read_addresses(session, user)
            gc.collect()
            # It has begun nothing, so that the connection can go on.
            assert await session.run_sync(read_addresses, user) == texts_of(1)
        await world.engine.dispose()
        return [str(one.message) for one in caught]

    ours = asyncio.run(main())
    lazy_loads(False)
    try:
        assert ours == asyncio.run(main())
    finally:
        lazy_loads(True)


# --- switched off ---------------------------------------------------------------------


@pytest.fixture
def switched_off():
    lazy_loads(False)
    yield
    lazy_loads(True)


def test_pools_wait_as_ever_when_it_is_off():
    def finalize(connection, record, pool, *, is_gc_cleanup):
        return seen.append(copool.aio.can_await())

    seen = []
    finalize = _without_waits(finalize)
    drop = functools.partial(finalize, None, None, None, is_gc_cleanup=True)
    asyncio.run(run_sync(drop))
    lazy_loads(False)
    try:
        asyncio.run(run_sync(drop))
    finally:
        lazy_loads(True)
    assert seen == [False, True]


@pytest.mark.parametrize(("value", "is_adapted"), [("0", False), ("1", True)])
def test_the_environment_decides(value, is_adapted):
    code = (
        "import copool.aio\n"
        "from sqlalchemy.pool import base\n"
        "from sqlalchemy.util import concurrency\n"
        "print(hasattr(base._finalize_fairy, '__wrapped__'))\n"
        "ours = copool.aio._sqlalchemy._spawn.__code__\n"
        "print(concurrency.greenlet_spawn.__code__ is ours)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"COPOOL_LAZY_LOADS": value},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [str(is_adapted)] * 2


@pytest.mark.filterwarnings(f"ignore:coroutine '({AS_ALONE})' was never")
def test_off_and_on_again(url, switched_off):
    async def main():
        world = World(url, run_sync)
        async with world.sessions() as session:
            user = await session.get_one(User, 1)
            for call in (call_as_it_is, run_sync):
                with pytest.raises(exc.SQLAlchemyError) as caught:
                    await call(read_addresses, session, user)
                assert type(cause(caught.value)) is exc.MissingGreenlet
                assert "greenlet_spawn has not been called" in str(caught.value)
                # What could not be waited for ends here, and not where Python
                # can't warn of it: in a namedtuple's constructor, say.
                del caught
                gc.collect()
            assert await session.run_sync(read_addresses, user) == texts_of(1)
            session.expire(user)
            lazy_loads()
            assert await run_sync(read_addresses, session, user) == texts_of(1)
        await world.is_whole()
        await world.engine.dispose()

    asyncio.run(main())
