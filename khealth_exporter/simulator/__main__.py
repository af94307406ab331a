"""The command `python -m khealth_exporter.simulator`: one simulated cluster until SIGTERM."""

import argparse
import asyncio
import ipaddress
import json
import pathlib
import signal
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from khealth_exporter.simulator.faults import FAULTS, parse
from khealth_exporter.simulator.settings import SimulatorSettings
from khealth_exporter.simulator.simulator import Simulator

_TLS_FILES: Final = {
    "--tls-cert-file": "serve TLS with this certificate, in PEM",
    "--tls-private-key-file": "its private key, in PEM",
    "--certificate-authority": "the certificates by which clients verify it, in PEM; written into the kubeconfig",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a simulated cluster until SIGTERM or SIGINT."""
    parser = _parser()
    options = parser.parse_args(arguments)
    certificates = (options.tls_cert_file, options.tls_private_key_file, options.certificate_authority)
    if any(certificates) and not all(certificates):
        parser.error("--tls-cert-file, --tls-private-key-file and --certificate-authority need each other")
    host, _, port = options.listen.rpartition(":")
    control_host, _, control_port = options.control.rpartition(":")
    settings = SimulatorSettings(
        host=host,
        port=int(port),
        control_host=control_host,
        control_port=int(control_port),
        nodes=options.nodes,
        seed=options.seed,
        speed=options.speed,
        node_grace=options.node_grace,
        endpoint_addresses=tuple(options.endpoint_address),
    )
    try:
        if options.tls_cert_file:
            authority = options.certificate_authority.read_text()
            settings = replace(settings, tls=_tls(options), certificate_authority=authority)
        asyncio.run(_serve(settings, options.kubeconfig.write_text, options.fault))
    except (OSError, ValueError) as error:
        parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m khealth_exporter.simulator", description=main.__doc__)
    parser.add_argument("--kubeconfig", type=pathlib.Path, required=True, help="where to write the kubeconfig")
    parser.add_argument("--listen", type=_address, default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--control", type=_address, default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0, help="how many times faster than a real cluster")
    parser.add_argument("--node-grace", type=float, default=20.0, metavar="SECONDS")
    for name, meaning in _TLS_FILES.items():
        parser.add_argument(name, type=pathlib.Path, metavar="FILE", help=meaning)
    parser.add_argument(
        "--endpoint-address",
        type=_ip_address,
        action="append",
        default=[],
        metavar="IP",
        help="further address in the EndpointSlice kubernetes, at which nothing listens; repeatable",
    )
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], metavar="NAME", help=f"one of {', '.join(FAULTS)}"
    )
    return parser


def _tls(options: argparse.Namespace) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        tls.load_cert_chain(options.tls_cert_file, options.tls_private_key_file)
    except OSError as error:
        raise ValueError(f"cannot load {options.tls_cert_file} and {options.tls_private_key_file}: {error}") from error
    return tls


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _fault(text: str) -> str:
    try:
        parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


async def _serve(settings: SimulatorSettings, write: Callable[[str], object], faults: Sequence[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(settings) as simulator:
        write(simulator.kubeconfig())
        for fault in faults:
            simulator.begin(fault)
        sys.stdout.write(json.dumps({"url": simulator.url, "control": simulator.control_url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    main()
