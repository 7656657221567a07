"""c10k doctor, cluster: the machines that a session would use."""

from typing import Annotated

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import machine
from ..run import cluster
from ..text import plain
from .app import DONE, Json, app
from .console import print_json


@app.command
def doctor(*, as_json: Annotated[bool, Json] = False) -> int:
    """Report what on this machine would distort or limit a session, and how to fix it.

    It changes nothing.

    Example: c10k doctor

    Parameters
    ----------
    as_json
        Print the findings as JSON.
    """
    findings = machine.doctor()
    if as_json:
        print_json({"findings": msgspec.to_builtins(findings)})
        return DONE
    console = Console()
    for finding in findings:
        style = {"ok": "", "note": "cyan", "warn": "yellow"}[finding.severity]
        line = Text(f"{finding.severity:5} {finding.what}: {finding.detail}", style=style)
        console.print(line, soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"      → {finding.remedy}"), soft_wrap=True)
    return DONE


_HELP = """List the hosts of a Dask scheduler, or explain how to set up several machines.

Example: c10k cluster tcp://10.0.0.1:8786

On one host, which the others reach at 10.0.0.1, start the scheduler:

    dask scheduler --host 10.0.0.1 --dashboard-address 127.0.0.1:8787

Start a worker on the host for the server, and one on each host for clients:

    dask worker 10.0.0.1:8786 --host 10.0.0.1 --name srv --resources server=1
    dask worker 10.0.0.1:8786 --host 10.0.0.2 --name c1 --resources client=1

Or start all of them over SSH, from a Python that keeps running; the first host then serves:

    from dask.distributed import SSHCluster
    hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    labels = {"resources": {"server": 1, "client": 1}}
    cluster = SSHCluster(hosts, worker_options=labels)
    print(cluster.scheduler_address)

Then: c10k run quick --scheduler tcp://10.0.0.1:8786

Anyone who can reach these ports can run code on the hosts. Bind them to 127.0.0.1 or to a
private network (SSHCluster binds to all addresses), or use TLS: see docs/several-machines.md."""


@app.command(name="cluster", help=_HELP)
def cluster_(
    scheduler: str | None = None,
    /,
    *,
    as_json: Annotated[bool, Json] = False,
) -> int:
    """List the hosts of a Dask scheduler, or explain how to set up several machines.

    Parameters
    ----------
    scheduler
        Address of the scheduler: tcp://HOST:PORT or tls://HOST:PORT; without it, this help.
    as_json
        Print the hosts as JSON.
    """
    if scheduler is None:
        app(["cluster", "--help"])
        return DONE
    machines = cluster.connect(scheduler)
    try:
        found = machines.described()
    finally:
        machines.close()
    if as_json:
        print_json({"hosts": found})
        return DONE
    grid = Table(*found[0], box=None, pad_edge=False)
    for host in found:
        grid.add_row(
            *(
                Text(f"{value:,}" if isinstance(value, int) else plain(str(value)))
                for value in host.values()
            )
        )
    Console().print(grid)
    return DONE
