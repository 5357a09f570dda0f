"""``python -m copool.bench``."""

import sys

from copool.commands.bench.cli import main

sys.exit(main(sys.argv[1:]))
