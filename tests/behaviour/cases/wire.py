"""The request, the resource, the environment."""

from __future__ import annotations

from trial import Trial, case


@case()
def request(t: Trial) -> None:
    ptx = t.start(sink={"headers": {"x-token": "secret", "X-Upper": "1"}})
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


@case()
def request_gzip(t: Trial) -> None:
    ptx = t.start(sink={"raw_otlp": t.ptx.RawOtlp("gzip")})
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


@case()
def request_batches(t: Trial) -> None:
    ptx = t.start(sink={"batch_max_export": 4})
    for number in range(10):
        with ptx.start_span(f"op{number}"):
            pass
    ptx.shutdown()


@case()
def resource(t: Trial) -> None:
    ptx = t.start(
        service_name="named", resource_attributes={"deployment.environment": "prod", "service.name": "other"}
    )
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


@case(env={"OTEL_SERVICE_NAME": "from-env", "OTEL_RESOURCE_ATTRIBUTES": "a=1,b=x%20y,service.name=third"})
def resource_and_environment(t: Trial) -> None:
    ptx = t.start(service_name="named", resource_attributes={"a": "2"})
    with ptx.start_span("op"):
        pass
    ptx.shutdown()
