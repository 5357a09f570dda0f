"""gevent's own suite, by its own runner: each file in a process of its own."""

from harness import ENVIRONMENT, PROGRAMS, Outcomes, Run, record_of

TIMEOUT = 1200
# Half of the time goes into these, left out when it has to be quick.
SLOW = {
    "test__greenletset.py",
    "test__os.py",
    "test__pool.py",
    "test__semaphore.py",
    "test__ssl.py",
    "test__subprocess.py",
    "test__threadpool.py",
}


def run(run: Run) -> Outcomes:
    (folder,) = ENVIRONMENT.glob("lib/python*/site-packages/gevent/tests")
    files = {path.name for path in folder.glob("test_*.py")}
    if run.only:
        named = (test.partition(":")[0].removesuffix(".py") for test in run.only)
        files &= {f"{name.removeprefix('gevent.tests.')}.py" for name in named}
        if not files:
            return {}
    return record_of(
        run,
        "gevent",
        PROGRAMS / "gevent_record.py",
        *("-u-network", "-j1", "--no-combine", "--second-chance"),
        *sorted(files - SLOW if run.quick and not run.only else files),
        timeout=TIMEOUT,
        COMPAT_PROVIDER=run.provider,
    )
