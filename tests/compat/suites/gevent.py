"""gevent's own suite, by its own runner: each file in a process of its own."""

from harness import PROGRAMS, Outcomes, Run, record_of

TIMEOUT = 1200
QUICK = """
    test__GreenletExit test__all__ test__api test__contextvars test__core test__core_fork
    test__destroy test__doctests test__event test__exc_info test__greenlet test__greenletset
    test__greenness test__hub test__hub_join test__issue112 test__iwait test__local test__lock
    test__monkey test__monkey_fork_atomic test__monkey_module_run test__order test__os
    test__pywsgi test__queue test__real_greenlet test__refcount test__select test__semaphore
    test__server test__signal test__socket test__ssl test__systemerror test__threading
    test__threading_2 test__threading_vs_settrace test__threadpool_executor_patched
    test__timeout test__util
""".split()


def run(run: Run) -> Outcomes:
    return record_of(
        run,
        "gevent",
        PROGRAMS / "gevent_record.py",
        *("-u-network", "-j1", "--no-combine", "--second-chance"),
        *((f"{file}.py" for file in QUICK) if run.quick else ()),
        timeout=TIMEOUT,
        COMPAT_PROVIDER=run.provider,
    )
