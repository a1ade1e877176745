"""Packages made on the spot, as for the tests of data."""

from tests.data.conftest import project, wheel

__all__ = ["project", "wheel"]
