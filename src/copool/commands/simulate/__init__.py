"""What the pool's policies do under thousands of threads, in virtual time."""
