"""The names of the package `copool`, which loads its core when one is first used."""

import os
import subprocess
import sys

import pytest

import copool

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")}


def printed(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | variables,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


LOADED = "print(sorted(n for n in sys.modules if n.startswith('copool.')))\n"


def test_importing_it_loads_no_core():
    assert printed("import sys, copool; print(dir(copool));" + LOADED)[1] == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "copool.Coroutine",
        "copool.PoolStats",
        "copool.__version__",
        "copool._core.options",
        "from copool import configure",
        "from copool import _core",
        "from copool import *",
        "import copool._pool",
    ],
)
def test_any_use_makes_all_names_there_with_the_environments_settings(use):
    lines = printed(
        f"import copool\n{use}\n"
        "print(sorted(set(copool.__all__) - set(dir(copool))))\n"
        "print(copool.stats().batch, copool.Coroutine(lambda: 1).enter())\n"
        # A module that has this function has slow names.
        "print(hasattr(copool, '__getattr__'))\n",
        COPOOL_BATCH="7",
    )
    assert lines == ["[]", "7 1", "False"]


def test_a_name_that_is_not_there_is_an_attribute_error_before_and_after():
    lines = printed(
        "import sys, copool\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        copool.no_such_name\n"
        "    except AttributeError as error:\n"
        "        print(error)\n"
        "    print('copool._core' in sys.modules)\n"
        "    copool.Coroutine\n"
    )
    message = "module 'copool' has no attribute 'no_such_name'"
    assert lines == [message, "False", message, "True"]


def test_threads_that_use_it_first_at_once():
    lines = printed(
        "import copool, threading\n"
        "seen = []\n"
        "start = threading.Barrier(8)\n"
        "def use():\n"
        "    start.wait()\n"
        "    seen.append(copool.Coroutine(lambda: copool.stats().live).enter() > 0)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(*seen)\n"
    )
    assert lines == [" ".join(["True"] * 8)]


def test_names_listed_before_the_first_use():
    names = printed("import copool; print(*dir(copool))")[0].split()
    assert set(copool.__all__) <= set(names)
    assert names == sorted(names)


def test_settings_of_the_environment_that_cannot_be_are_told_at_each_use():
    lines = printed(
        "import copool\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        copool.Coroutine\n"
        "    except ValueError as error:\n"
        "        print(error)\n",
        COPOOL_BATCH="0",
    )
    assert lines == ["batch must be from 1 to 4096, not 0"] * 2
