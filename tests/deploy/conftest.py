"""Programs that read what is in deploy/.

Without them these tests are skipped, but where CI is set they fail: there nothing is skipped.
"""

from __future__ import annotations

import os
import shutil

import pytest

PROGRAMS = ("nginx", "caddy", "promtool", "systemd-analyze")


@pytest.fixture(scope="session")
def programs() -> None:
    """All that Debian has under apt-get install nginx-light caddy prometheus systemd."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}; see .ci/run")
