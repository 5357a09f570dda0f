"""What a coroutine costs, beside what else there is: ``copool bench``.

``model``     what is measured: samples, series, ratios
``subjects``  copool, greenlet and generators, each doing every case
``peers``     the same for asyncio tasks and threads
``clevel``    the C core, ucontext and Boost.Context, through ctypes
``footprint`` memory, and what the kernel does; in processes of their own
``cases``     the table of cases, made of these
``compat``    those of ``--compat``: the real greenlet beside the drop-in, each in
              its ``worker`` process
``aio``       those of ``--aio``: functions that wait for awaitables
``orm``       the processes of those with SQLAlchemy
``serve``     those of ``--serve``: servers under load, which ``served`` becomes
``runner``    calibrates, interleaves the subjects, verifies
``targets``   what is to be reached
``report``, ``plot``, ``cli``  the way out
"""
