"""What all end-to-end tests share."""

import contextlib
import os
import signal

import pytest

pytest.register_assert_rewrite("disasterlib")
import disasterlib  # noqa: E402
import fakeraylib  # noqa: E402
import raylib  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "ray: uses the real Ray (slow: it is packed or started)")
    config.addinivalue_line("markers", "may_fail_while_away: requests may fail while the gateway itself is away")


def pytest_collection_modifyitems(items):
    """Ray on two cores misses its own deadlines now and then: such a test has a second try. No other has: it would hide a
    race, and a second try after a teardown that failed meets the module's platform closed."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter):
    """Why tests needed their second try: without it nobody looks for the cause."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"first try of {report.nodeid}: {report.when}")
        terminalreporter.write_line(report.longreprtext[-4000:])


# A shell starts what runs in its background with SIGINT ignored, nohup with SIGHUP, and children inherit that: tests send them to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def disaster_world(tmp_path_factory, request):
    """Makes platforms for the tests of disasters: `with disaster_world() as world`."""
    real = os.environ.get("ASTRA_TEST_RAY") == "real"
    environment = request.getfixturevalue("ray_environment").read_bytes() if real else fakeraylib.environment()

    @contextlib.contextmanager
    def make(*flags, kind=disasterlib.World, **options):
        world = kind(tmp_path_factory.mktemp("world"), environment, **options)
        try:
            yield world.up(*flags)
        finally:
            world.end()
        world.check()

    return make


@pytest.fixture(scope="session")
def ray_environment(tmp_path_factory):
    """The path of a packed environment with ray[serve], made once and kept in the packer's cache."""
    return raylib.packed(tmp_path_factory.mktemp("env"))
