"""Which network ranks use: this host's loopback when the whole run is on it, else the one that reaches the driver."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from deeprc.errors import ResourceError

# With UCX, MPICH finds no way over loopback between ranks it takes for ranks of two hosts; with libfabric it does.
_ACROSS_LOOPBACK = {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp"}
_RDMA_DEVICES = Path("/sys/class/infiniband")


def address_towards(driver: str) -> str:
    """The address from which this host reaches the driver at `tcp://HOST:PORT`; nothing is sent to find it."""
    target = urlsplit(driver)
    assert target.hostname is not None
    found = socket.getaddrinfo(target.hostname, target.port, type=socket.SOCK_DGRAM)
    family, kind, _, _, where = found[0]
    with socket.socket(family, kind) as probe:
        probe.connect(where)
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str:
    """The name of the network interface that has an address.

    Raises:
        ResourceError: no interface has it.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return name
    # All of 127.0.0.0/8 is the loopback's.
    if address.startswith("127."):
        return interface_of("127.0.0.1")
    raise ResourceError(f"no network interface of this host has the address {address}")


def network_environment(address: str) -> dict[str, str]:
    """What keeps GLOO and MPI on the interface of a node's address.

    On loopback nothing else may be used; elsewhere what the user has set counts, and RDMA devices are left to UCX.
    """
    name = interface_of(address)
    if is_loopback(address):
        return {"GLOO_SOCKET_IFNAME": name, "UCX_NET_DEVICES": name, "FI_TCP_IFACE": name}
    wanted = {"GLOO_SOCKET_IFNAME": name, "FI_TCP_IFACE": name}
    if not _RDMA_DEVICES.is_dir() or not any(_RDMA_DEVICES.iterdir()):
        wanted["UCX_NET_DEVICES"] = name
    return {key: os.environ.get(key, value) for key, value in wanted.items()}


def spanning_environment(address: str) -> dict[str, str]:
    """What a rank of an MPI world that spans nodes needs besides."""
    return dict(_ACROSS_LOOPBACK) if is_loopback(address) else {}


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
