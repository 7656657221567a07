"""Hosts on one machine, for tests: network namespaces on a bridge, a Dask process in each.

A host has a network, a process table and a /proc of its own, so that each sees only its
own processes; killing its first process takes all of it away at once, as pulling the
plug does. Names are drawn for each run, and whatever happens everything is removed.
"""

import contextlib
import ctypes
import fcntl
import os
import queue
import secrets
import signal
import struct
import subprocess
import sys
import threading
import time

PORT = 8786


def why_not():
    """Why there can be no hosts here; "" when there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root, for network namespaces"
    name = f"c10k{secrets.token_hex(3)}"
    try:
        for words in (
            ["ip", "netns", "add", name],
            ["ip", "-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "b0"],
            ["ip", "-n", name, "link", "add", "br0", "type", "bridge"],
            ["unshare", "--pid", "--fork", "--mount-proc", "true"],
        ):
            _run(*words)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {getattr(error, 'stderr', '') or error}".strip()
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return ""


def netem():
    """Whether the kernel delays packets at request (tc netem)."""
    name = f"c10k{secrets.token_hex(3)}"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("tc", "-n", name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return True


class Hosts:
    """A bridge with hosts on it; close() removes all of it."""

    def __init__(self, folder):
        self.folder = folder
        self.tmp = folder / "tmp"  # a host that is killed whole leaves what it had there
        self.tmp.mkdir()
        self.mark = f"c10k{secrets.token_hex(3)}"
        self.stack = contextlib.ExitStack()
        self.addresses = {}
        self.processes = {}
        self.bridge = self._namespace("bridge")
        self._ip(self.bridge, "link add br0 type bridge", "link set br0 up")

    def add(self, name, *more, delay_ms=0):
        """A host with an address on the bridge, and as many more as are named.

        delay_ms: how long each packet that leaves it is held, by the kernel where that can,
        else by a relay of our own, which also holds those that come.
        """
        number = 1 + len(self.addresses)
        address = self.addresses[name] = f"10.77.0.{number}"
        space, port = self._namespace(name), f"port{number}"
        if delay_ms and not netem():
            ends = [space, "eth0", self.bridge, port]
            words = [sys.executable, __file__, str(delay_ms / 2), *ends]
            self._keep(name, subprocess.Popen(words, start_new_session=True))
            self._await_device(space, "eth0")
            self._await_device(self.bridge, port)
        else:
            self._ip(space, f"link add eth0 type veth peer name {port} netns {self.bridge}")
        self._ip(
            space,
            "link set lo up",
            *(f"addr add {each}/24 dev eth0" for each in (address, *more)),
            "link set eth0 up",
        )
        self._ip(self.bridge, f"link set {port} master br0", f"link set {port} up")
        if delay_ms and netem():
            delayed = ["qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{delay_ms}ms"]
            _run("tc", "-n", space, *delayed, "limit", "100000")
        return address

    def command(self, name, words):
        """What runs a command on a host, with the host's own processes only."""
        pid = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return ["ip", "netns", "exec", f"{self.mark}-{name}", *pid, *words]

    def start(self, name, *words, core=None):
        """A process on a host, on one core; what it says goes to a file of its name."""
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(name, [*pinned, sys.executable, "-m", *words]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self.tmp)},
            )
        return self._keep(name, process)

    def scheduler(self, name="sched"):
        """Starts the scheduler; its address."""
        address = self.add(name)
        self.start(name, "dask", "scheduler", "--host", address, "--no-dashboard")
        return f"tcp://{address}:{PORT}"

    def worker(self, name, label, scheduler, *more, core=None, delay_ms=0):
        """Starts a labelled worker on a host of its own."""
        address = self.addresses.get(name) or self.add(name, *more, delay_ms=delay_ms)
        words = ["worker", scheduler, "--host", address, "--name", name, "--no-nanny"]
        options = ["--nthreads", "1", "--no-dashboard", "--resources", label]
        self.start(name, "dask", *words, *options, core=core)

    def system(self, name, *words):
        """Runs a command in the host's network, to its end."""
        _run("ip", "netns", "exec", f"{self.mark}-{name}", *words)

    def cut(self, name):
        """Cuts a host's wire; it goes on, and nobody is told."""
        self._ip(f"{self.mark}-{name}", "link set eth0 down")

    def kill(self, name):
        """Takes a host away at once, with everything on it."""
        for process in self.processes.pop(name, []):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self):
        self.stack.close()

    def _keep(self, name, process):
        self.processes.setdefault(name, []).append(process)
        self.stack.callback(self.kill, name)
        return process

    def _await_device(self, space, device):
        for _ in range(50):
            time.sleep(0.1)
            if not subprocess.run(
                ["ip", "-n", space, "link", "show", device], capture_output=True, check=False
            ).returncode:
                return
        raise OSError(f"no {device} in {space}")

    def _namespace(self, name):
        space = f"{self.mark}-{name}"
        _run("ip", "netns", "add", space)
        self.stack.callback(subprocess.run, ["ip", "netns", "del", space], check=False)
        return space

    def _ip(self, space, *commands):
        for words in commands:
            _run("ip", "-n", space, *words.split())


def relay(milliseconds, *ends):
    """Carries frames between two tap devices, each after so long; an end is (namespace, device)."""
    devices = [_tap(*end) for end in ends]
    for source, target in (devices, reversed(devices)):
        line = queue.SimpleQueue()
        threading.Thread(target=_take, args=(source, line, milliseconds / 1000)).start()
        threading.Thread(target=_give, args=(target, line)).start()


def _take(device, line, seconds):
    while frame := os.read(device, 65536):
        line.put((time.monotonic() + seconds, frame))


def _give(device, line):
    while True:
        due, frame = line.get()
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):  # the other side is not up yet
            os.write(device, frame)


def _tap(space, name):
    """Opens a tap device, whole frames without a header, in a namespace."""
    new_network, set_interface, tap_without_header = 0x40000000, 0x400454CA, 0x1002
    with open(f"/run/netns/{space}") as entry:  # noqa: PTH123 - a descriptor is wanted
        if ctypes.CDLL(None, use_errno=True).setns(entry.fileno(), new_network):
            raise OSError(ctypes.get_errno(), f"setns {space}")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, set_interface, struct.pack("16sH22x", name.encode(), tap_without_header))
    return device


def _run(*words):
    subprocess.run(words, capture_output=True, text=True, check=True)


if __name__ == "__main__":
    relay(float(sys.argv[1]), sys.argv[2:4], sys.argv[4:6])
