"""Commands for gdb: `copool list` and `copool bt`, for processes and for cores.

They run in gdb's own Python, which is another one than the program's and may be
older: nothing here imports the rest of copool, and all but cli.py keeps to what
Python 3.9 has.

    load.py       what gdb reads first
    reading.py    chains, frames and names, by the table that a process carries
    target.py     the memory of what gdb debugs, and where the table is in it
    walking.py    the C frames of a chain that is not running
    commands.py   the commands
    cli.py        the command line of `copool gdb`
"""
