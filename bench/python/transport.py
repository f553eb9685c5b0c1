"""What a request costs: batches of 512 spans with three attributes, HTTP and gRPC, in the open and through
TLS, against opentelemetry's own exporters.

Processor time is that of the exporting process, recording left out: of ours all but the thread that records,
of opentelemetry all of it, which exports the same spans each time. The servers are Python processes and can
be what limits the rate.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from exports import BATCH
from grpc_sink import GrpcSink
from report import number, times
from session import OURS, Session, WrongResult
from sink import Sink

RIVAL = "opentelemetry-sdk"


def run(session: Session) -> None:
    import trustme

    libraries = [name for name in (OURS, RIVAL) if name in session.libraries]
    requests = {OURS: session.size(400, 4), RIVAL: session.size(60, 2)}
    rows = []
    bars: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        for protocol in ("http", "grpc"):
            if protocol == "grpc" and RIVAL not in libraries:
                continue  # it brings the server's grpcio
            for secured in (False, True):
                certificate = str(folder / "server.pem") if secured else None
                server: Sink | GrpcSink = stack.enter_context(
                    Sink(certificate)
                    if protocol == "http"
                    else GrpcSink(session.interpreters[RIVAL], certificate)
                )
                way = f"{'HTTP' if protocol == 'http' else 'gRPC'}{', TLS' if secured else ''}"
                seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in libraries}
                for _ in range(session.size(3, 1)):
                    for library in libraries:
                        result = session.export(
                            library,
                            "transport",
                            endpoint=server.endpoint,
                            protocol=protocol,
                            authority=str(folder / "ca.pem") if secured else None,
                            requests=requests[library],
                        )
                        arrived = server.stats()["requests"]
                        if arrived != requests[library] + 1:
                            raise WrongResult(f"{library}, {way}: {arrived} requests arrived")
                        seconds[library].append((result["wall_s"], result["cpu_s"]))
                walls = {name: median(wall for wall, _ in runs) for name, runs in seconds.items()}
                cpus = {name: median(cpu for _, cpu in runs) for name, runs in seconds.items()}
                rates = {name: requests[name] / wall for name, wall in walls.items()}
                costs = {name: cpus[name] / requests[name] * 1e6 for name in libraries}
                bars[way] = costs
                for name in libraries:
                    rows.append(
                        [
                            f"{way}: {name}",
                            number(rates[name]),
                            times(rates[OURS] / rates[name]) if name != OURS else "",
                            number(costs[name]),
                            times(costs[name] / costs[OURS]) if name != OURS else "",
                        ]
                    )
    columns = [f"batches of {BATCH} spans", "requests/s", "ours makes", "µs CPU a request", "of ours"]
    notes = "Every request arrived. CPU of the exporting process, recording left out."
    session.show("transport", "Requests to a local server", notes, columns, rows)
    session.chart("transport", "Processor time of a request with 512 spans", "µs, logarithmic", bars)
