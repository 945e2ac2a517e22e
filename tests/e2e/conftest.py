"""What all end-to-end tests share."""


def pytest_configure(config):
    config.addinivalue_line("markers", "ray: uses the real Ray (slow: it is packed or started)")
