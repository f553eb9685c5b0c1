"""Traces and metrics to Alibaba Cloud's Managed Service for OpenTelemetry (ARMS, once XTrace), logs to SLS.

    ARMS_ENDPOINT=cn-hangzhou ARMS_TOKEN=… SLS_ENDPOINT=cn-hangzhou.log.aliyuncs.com \\
    SLS_PROJECT=… SLS_LOGSTORE=… ALIBABA_CLOUD_ACCESS_KEY_ID=… ALIBABA_CLOUD_ACCESS_KEY_SECRET=… \\
    python examples/traces_to_xtrace.py

ARMS_ENDPOINT is a region or the address that the console shows, ARMS_TOKEN the token there. Credentials
are a key as above, or a role's: see `ptx.aliyun`. Columns traceID and spanID lead from a log to its trace.
"""

from __future__ import annotations

import os
import sys
import time

import pytracingx as ptx

NEEDED = ("ARMS_ENDPOINT", "ARMS_TOKEN", "SLS_ENDPOINT", "SLS_PROJECT", "SLS_LOGSTORE")


def config() -> ptx.Config:
    endpoint, token, sls_endpoint, project, logstore = (os.environ[name] for name in NEEDED)
    logs = ptx.SlsLogSink(
        sls_endpoint,
        project,
        logstore,
        credentials=ptx.aliyun.from_environment(),  # a key, or the role of a pod or an instance
        topic="checkout",
    )
    return ptx.Config(
        "checkout",
        {"deployment.environment": "example"},
        sinks=[*ptx.aliyun.arms(endpoint, token), logs],
    )


def main() -> int:
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        print(f"not set: {', '.join(missing)}", file=sys.stderr)
        return 2
    ptx.init(config())
    for check in ptx.check():  # says at once what a wrong token or a missing logstore would hide
        print(f"{check['signal']:<8} {check['endpoint']}: {'ok' if check['ok'] else check['error']}")
    log = ptx.get_logger("checkout")
    orders = ptx.get_meter("checkout").counter("orders", unit="{order}")
    with ptx.start_span("POST /orders", {"http.request.method": "POST"}, "server") as span:
        with ptx.start_span("charge", kind="client"):
            time.sleep(0.01)
        orders.add(1, {"country": "CN"})
        log.info("order stored", attributes={"order.id": "A-17"})
    print(f"trace {span.trace_id()}")
    delivered = ptx.shutdown()
    print("all delivered" if delivered else "not all was delivered")
    return 0 if delivered else 1


if __name__ == "__main__":
    sys.exit(main())
