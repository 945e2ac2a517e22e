"""The few names of Starlette that tests' apps import."""
