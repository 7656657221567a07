"""This machine alone, as what a session runs on: its limits, its cores, its environment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from . import drive, machine, places, session, watch
from .model import Plan, Trial


class Here:
    """This machine."""

    def environment(self) -> dict[str, Any]:
        """What results that are made here depend on."""
        return machine.environment(places.SUITE)

    def room(self, planned: Plan, memory_share: float) -> Callable[[Trial], str]:
        """Why a trial does not fit this machine; "" when it does.

        A search goes beyond the descriptors of one process: there the server is to break.
        """
        processes = {server.name: server.processes for server in planned.servers}
        limits, budget = machine.read_limits(), int(watch.available_bytes() * memory_share)
        most, searching = machine.worker_clients(limits), planned.workload.search is not None
        limits = replace(limits, descriptors_hard=None) if searching else limits

        def room(trial: Trial) -> str:
            clients = trial.load.clients
            workers = -(-clients // most) if most else 1
            fits = machine.capacity(
                clients,
                limits,
                addresses=drive.addresses(trial.load, workers),
                processes=processes[trial.server],
                budget_bytes=budget,
            )
            return fits.reason

        return room

    def executor(self, planned: Plan, logs: Path, **common: Any) -> session.Executor:
        """Server and clients on cores of their own, as far as there are any."""
        pinning = machine.cores(planned.workload.processes)
        return session.LocalExecutor(
            planned,
            logs,
            server_cpus=pinning.server or (),
            client_cpus=pinning.clients or (),
            workers=pinning.workers,
            worker_clients=machine.worker_clients(),
            pinned=pinning.note,
            one_core=pinning.one_core,
            **common,
        )

    def close(self) -> None:
        """Nothing is held between trials."""
