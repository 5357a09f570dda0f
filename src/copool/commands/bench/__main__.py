"""``python -m copool.bench``."""

import sys

from copool.bench.cli import main

sys.exit(main(sys.argv[1:]))
