"""The queue, the worker's process, and what is planned for them."""
