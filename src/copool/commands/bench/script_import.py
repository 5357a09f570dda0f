"""A script that times `import greenlet`, and shows which greenlet that was."""

import time

start = time.perf_counter_ns()
import greenlet  # noqa: E402

elapsed = time.perf_counter_ns() - start

print(elapsed, id(greenlet.greenlet))
with open("/proc/self/maps") as maps:
    print(maps.read())
