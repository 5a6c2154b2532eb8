"""A provider whose module can't be imported."""

import a_package_that_nobody_has  # noqa: F401


class Broken:
    """Never reached."""
