"""Libraries on top of others that are asynchronous, used by plain functions."""
