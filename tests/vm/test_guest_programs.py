"""Programs in the guest: its kernel has what kube-proxy's IPVS mode needs, and the host's files are there, unharmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.guest import Guest

pytestmark = pytest.mark.vm

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh", "lblc", "fo", "ovf")


def test_every_scheduler_loads_on_demand(guest: Guest) -> None:
    """A virtual server can be made with each of the kernel's schedulers; nobody calls modprobe before."""
    lines = "\n".join(f"-A -t 10.0.0.{number}:80 -s {name}" for number, name in enumerate(SCHEDULERS, start=1))
    made = guest.run(["unshare", "-n", "sh", "-c", "ipvsadm -R && ipvsadm -Ln"], stdin=lines + "\n")

    assert made.status == 0, made.stderr
    for name in SCHEDULERS:
        assert f" {name}" in made.stdout


def test_what_kube_proxy_needs_is_there(guest: Guest) -> None:
    """A dummy link, an ipset and the matches on both can be made in a network namespace of the guest's."""
    script = (
        "ip link add kube-ipvs0 type dummy && ipset create KUBE-CLUSTER-IP hash:ip,port && "
        "iptables -A INPUT -m set --match-set KUBE-CLUSTER-IP dst,dst -m ipvs --vdir ORIGINAL && iptables -S INPUT"
    )
    made = guest.run(["unshare", "-n", "sh", "-c", script])

    assert made.status == 0, made.stderr
    assert "--match-set KUBE-CLUSTER-IP dst,dst" in made.stdout


def test_the_hosts_files_are_read_only(guest: Guest, tmp_path: Path) -> None:
    """The guest sees this machine's files; what it writes over them stays in the guest."""
    file = tmp_path / "file"
    file.write_text("of the host")
    told = guest.run(["sh", "-c", f"cat {file}; echo of the guest >{file} && cat {file}"])

    assert told.stdout == "of the hostof the guest\n"
    assert file.read_text() == "of the host"


def test_python_and_the_working_tree(guest: Guest) -> None:
    """Python runs in the guest with kplab as it is in the working tree."""
    told = guest.python("import kplab, os; print(kplab.__file__, os.uname().release)")

    assert told.status == 0, told.stderr
    assert "kplab/__init__.py" in told.stdout


def test_a_program_that_hangs_is_ended(guest: Guest) -> None:
    """A program that is not done in time is killed, and the guest goes on."""
    assert guest.run(["sleep", "60"], limit=0.5).status == 124
    assert guest.run(["echo", "on"]).stdout == "on\n"
