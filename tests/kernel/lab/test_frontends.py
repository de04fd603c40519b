"""What `iptables` means in a lab."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kplab.lab.frontends import link_frontends

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(("backend", "said"), [("nft", "(nf_tables)"), ("legacy", "(legacy)")])
def test_iptables_is_the_labs_own_back_end(tmp_path: Path, backend: str, said: str) -> None:
    """Called by the link's name, the program is the back-end's, whatever the machine's alternatives say."""
    if shutil.which(f"iptables-{backend}", path="/usr/sbin:/sbin") is None:
        pytest.skip(f"iptables-{backend} is not installed (apt-get install iptables)")
    link_frontends(backend, tmp_path / "bin")
    for name in ("iptables", "ip6tables", "iptables-save", "iptables-restore"):
        version = subprocess.run([tmp_path / "bin" / name, "-V"], capture_output=True, text=True, check=True).stdout
        assert said in version, name
