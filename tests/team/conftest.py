"""What tests of a team borrow: small models, and a PostgreSQL of their own."""

from __future__ import annotations

from tests.exporting.conftest import models
from tests.labelling.test_databases import postgresql

__all__ = ["models", "postgresql"]
