"""Reads the coroutines of another process, or of a core, without its help.

Nothing here uses copool's own core, so that it does not matter which version of
it, or of Python, the process has: where things lie is in a table that the process
carries (table.py). docs/debugging.md says what is in that.

    memory.py   bytes at an address: what processes and cores have in common
    process.py  a live process; permissions
    core.py     the file that a kernel or gcore wrote
    elf.py      headers of such files and of libraries
    table.py    the section .copool: names and offsets
    objects.py  CPython's objects: strings, dicts, code and its lines
    frames.py   chains of frames; coroutines that are suspended
    names.py    what chains are called; tasks.py: if they are asyncio's tasks
    model.py    what is found: threads, chains
    scene.py    all threads, with all that they have: reading them as they run
    report.py   what was found, as text and as JSON
    summary.py  the table of `copool ps`
    live.py     the table of `copool ps --watch`
    cli.py      the command line of `copool ps` and `copool dump`
"""
