"""Alibaba Cloud: credentials that renew themselves, and sinks for ARMS and for SLS's own OTLP endpoints.

    import pytracingx as ptx

    logs = ptx.SlsLogSink("cn-hangzhou.log.aliyuncs.com", "my-project", "my-logstore",
                          credentials=ptx.aliyun.ecs_ram_role())
    ptx.init(ptx.Config("my-service", sinks=[logs, *ptx.aliyun.arms("cn-hangzhou", token)]))

A provider is any callable that returns `(id, secret, token)`, `(id, secret, token, expires_unix_seconds)` or
an object with the attributes `access_key_id`, `access_key_secret` and `security_token`. So the package
`alibabacloud-credentials` serves as it is:

    client = alibabacloud_credentials.client.Client()
    ptx.SlsLogSink(..., credentials=client.get_credential)

It is called on a Python thread of its own, never by the exporter: at the beginning, before the credentials
expire and after a 401. If it raises it is called again, after a second, then two, up to a minute; records
wait meanwhile.
"""

from __future__ import annotations

import os

from ._native import ConfigError, MetricSink, TraceSink, _fetch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    _Provider = Callable[[], tuple[str, str, str | None, int | None]]

__all__ = ["CredentialsError", "arms", "ecs_ram_role", "from_environment", "oidc_role", "sls_trace"]

_METADATA_URL = "http://100.100.100.200"
# The metadata service is on the same machine.
_METADATA_TIMEOUT_MS = 1000
_METADATA_TOKEN_SECONDS = 21600
_STS_TIMEOUT_MS = 5000
_SESSION_SECONDS = 3600


class CredentialsError(Exception):
    """A provider could not get credentials. Its text holds no secret: it is told on stderr."""


def ecs_ram_role(role: str | None = None, *, _url: str | None = None) -> _Provider:
    """Credentials of the RAM role of this ECS instance, from its metadata service, never through a proxy.

    Args:
        role: The role's name. Default: ALIBABA_CLOUD_ECS_METADATA, or else what the metadata service says.
        _url: Of the metadata service, for tests.

    Returns:
        A provider, for SlsLogSink(credentials=...).

    Uses the hardened mode (IMDSv2); the normal one only where the instance does not have it and
    ALIBABA_CLOUD_IMDSV1_DISABLED is not true.
    """
    return _EcsRamRole(role, _url)


def oidc_role(
    role_arn: str | None = None,
    oidc_provider_arn: str | None = None,
    oidc_token_file: str | None = None,
    *,
    session_name: str | None = None,
    sts_endpoint: str | None = None,
) -> _Provider:
    """Credentials of a RAM role for an OIDC token, as ACK's RRSA gives pods one (STS AssumeRoleWithOIDC).

    Args:
        role_arn: Default: ALIBABA_CLOUD_ROLE_ARN.
        oidc_provider_arn: Default: ALIBABA_CLOUD_OIDC_PROVIDER_ARN.
        oidc_token_file: Read at each renewal. Default: ALIBABA_CLOUD_OIDC_TOKEN_FILE.
        session_name: Default: ALIBABA_CLOUD_ROLE_SESSION_NAME, or else "pytracingx".
        sts_endpoint: Host of STS. Default: by ALIBABA_CLOUD_STS_REGION and
            ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED, or else sts.aliyuncs.com.

    Returns:
        A provider, for SlsLogSink(credentials=...).
    """
    return _OidcRole(role_arn, oidc_provider_arn, oidc_token_file, session_name, sts_endpoint)


def from_environment() -> _Provider:
    """Credentials as the environment has them, looked for at each renewal.

    Returns:
        A provider, for SlsLogSink(credentials=...): of the key in ALIBABA_CLOUD_ACCESS_KEY_ID, …_SECRET and
        ALIBABA_CLOUD_SECURITY_TOKEN; else oidc_role(), where its three variables are set; else
        ecs_ram_role(), unless ALIBABA_CLOUD_ECS_METADATA_DISABLED is true.
    """
    return _FromEnvironment()


def arms(
    endpoint_or_region: str,
    token: str,
    *,
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf",
    internal: bool = False,
    metrics: bool = True,
) -> list[TraceSink | MetricSink]:
    """Sinks for ARMS (Managed Service for OpenTelemetry).

        ptx.Config("my-service", sinks=ptx.aliyun.arms("cn-hangzhou", token))

    Args:
        endpoint_or_region: A region id such as "cn-hangzhou", or `[http://]host[:port]`.
        token: As the console shows it. Part of the path or a header, never printed.
        protocol: "http/protobuf" or "grpc" (port 8090).
        internal: With a region id: its endpoint inside Alibaba Cloud's network.
        metrics: Send metrics too.

    Raises:
        ConfigError: a value that is not allowed.

    HTTP: port 80, the token in the path, `/adapt_{token}/api/otlp/traces` and `…/metrics`; gRPC: port 8090,
    the token in the header `Authentication`. Both as Alibaba Cloud's guides for OpenTelemetry have them. Logs
    go to SLS: SlsLogSink. ARMS takes plain HTTP; from outside use `internal=True` or a collector if that is
    not enough.
    """
    token = _text("token", token)
    token = token[6:] if token.startswith("adapt_") else token
    if not all(char.isalnum() or char in "@_-.=~+" for char in token):
        raise ConfigError("token must be of letters, digits, '@', '_', '-', '.', '=', '~' and '+'")
    is_grpc = _is_grpc(protocol)
    endpoint = _text("endpoint_or_region", endpoint_or_region)
    if _is_region(endpoint):
        endpoint = _arms_host(endpoint, "-internal" if internal else "")
    endpoint = _endpoint("endpoint_or_region", endpoint, "http")
    if is_grpc:
        if ":" not in endpoint.split("://")[1].split("]")[-1]:
            endpoint += ":8090"
        headers = {"Authentication": token}
        sinks: list[TraceSink | MetricSink] = [TraceSink(endpoint, "grpc", headers)]
        return [*sinks, MetricSink(endpoint, "grpc", headers)] if metrics else sinks
    base = f"{endpoint}/adapt_{token}/api/otlp"
    sinks = [TraceSink(f"{base}/traces", protocol)]
    return [*sinks, MetricSink(f"{base}/metrics", protocol)] if metrics else sinks


def sls_trace(
    project: str,
    instance: str,
    region: str,
    ak_id: str,
    ak_secret: str,
    *,
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf",
    internal: bool = False,
) -> list[TraceSink | MetricSink]:
    """Sinks for a trace instance of SLS, which takes OTLP itself.

        traces = ptx.aliyun.sls_trace("my-project", "my-instance", "cn-hangzhou", ak_id, ak_secret)
        ptx.init(ptx.Config("my-service", sinks=traces))

    Args:
        project: Of the instance.
        instance: Its id.
        region: Region id such as "cn-hangzhou", or the endpoint `[https://]host[:port]` of SLS.
        ak_id: Access key id.
        ak_secret: Access key secret. SLS wants it in a header, so only TLS endpoints should be used.
        protocol: "http/protobuf" (traces) or "grpc" (port 10010; traces and metrics).
        internal: With a region id: its endpoint inside Alibaba Cloud's network.

    Raises:
        ConfigError: a value that is not allowed.

    HTTP: `/opentelemetry/v1/traces`, the one path that SLS documents; no path for metrics is known. gRPC:
    port 10010, always TLS, gzip. The key travels in headers; a temporary key does not work, for no header for
    its token is documented.
    """
    is_grpc = _is_grpc(protocol)
    project = _text("project", project)
    if not all(char.isascii() and (char.isalnum() or char in "-_") for char in project):
        raise ConfigError(f"project '{project}' must be of letters, digits, '-' and '_'")
    headers = {
        "x-sls-otel-project": project,
        "x-sls-otel-instance-id": _text("instance", instance),
        "x-sls-otel-ak-id": _text("ak_id", ak_id),
        "x-sls-otel-ak-secret": _text("ak_secret", ak_secret),
    }
    region = _text("region", region)
    if _is_region(region):
        region = f"{region}{'-intranet' if internal else ''}.log.aliyuncs.com"
    scheme, host = _endpoint("region", region, "https").split("://")
    name = host.split(":")[0]
    # Those have no names below them.
    is_itself = host.startswith("[") or name == "localhost" or name.replace(".", "").isdigit()
    endpoint = f"{scheme}://{'' if is_itself or name.startswith(f'{project}.') else f'{project}.'}{host}"
    if not is_grpc:
        return [TraceSink(f"{endpoint}/opentelemetry/v1/traces", protocol, headers)]
    if ":" not in endpoint.split("://")[1].split("]")[-1]:
        endpoint += ":10010"
    return [
        TraceSink(endpoint, "grpc", headers, compression="gzip"),
        MetricSink(endpoint, "grpc", headers, compression="gzip"),
    ]


# Regions that had ARMS first; later ones carry their id. Elsewhere the console knows.
_ARMS_REGIONS = {
    "cn-hangzhou": "hz",
    "cn-shanghai": "sh",
    "cn-qingdao": "qd",
    "cn-beijing": "bj",
    "cn-zhangjiakou": "zb",
    "cn-shenzhen": "sz",
    "cn-hongkong": "hk",
    "ap-northeast-1": "jp",
    "ap-southeast-1": "sg",
}


def _arms_host(region: str, suffix: str) -> str:
    short = _ARMS_REGIONS.get(region)
    if short is not None:
        return f"tracing-analysis-dc-{short}{suffix}.aliyuncs.com"
    if not region.startswith("cn-"):
        raise ConfigError(
            f"endpoint_or_region '{region}': give the endpoint that the console shows for this region"
        )
    return f"tracing-{region}{suffix}.arms.aliyuncs.com"


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be str, not {type(value).__name__}")
    if not value.strip():
        raise ConfigError(f"{argument} must not be empty")
    return value.strip()


def _is_grpc(protocol: Any) -> bool:
    if protocol not in ("http/protobuf", "grpc"):
        raise ConfigError(f"unknown protocol {protocol!r}, expected one of http/protobuf, grpc")
    return bool(protocol == "grpc")


def _is_region(text: str) -> bool:
    return "-" in text and all(
        (part.isalnum() and part.islower()) or part.isdigit() for part in text.split("-")
    )


def _endpoint(argument: str, text: str, scheme: str) -> str:
    """Scheme, host and port. What it says of a path, which can be a secret, shows none."""
    given, separator, rest = text.partition("://")
    if not separator:
        given, rest = scheme, text
    host, _, path = rest.partition("/")
    if path or not host or "?" in host or "@" in host:
        raise ConfigError(f"{argument} must be a region id or [http(s)://]host[:port] without a path")
    return f"{given}://{host}"


class _EcsRamRole:
    def __init__(self, role: str | None, url: str | None) -> None:
        self.role = role
        self.url = url

    def __repr__(self) -> str:
        return f"ecs_ram_role({self.role!r})" if self.role else "ecs_ram_role()"

    def __call__(self) -> tuple[str, str, str | None, int | None]:
        if _is_true("ALIBABA_CLOUD_ECS_METADATA_DISABLED"):
            raise CredentialsError("ECS metadata: disabled by ALIBABA_CLOUD_ECS_METADATA_DISABLED")
        path = "/latest/meta-data/ram/security-credentials/"
        headers = self.token()
        role = (
            self.role or _variable("ALIBABA_CLOUD_ECS_METADATA") or self.get(path, headers).decode().strip()
        )
        if not role or not all(char.isalnum() or char in "-_." for char in role):
            raise CredentialsError("ECS metadata: the instance has no RAM role")
        return _parsed("ECS metadata", self.get(path + role, headers), lambda answer: answer)

    def token(self) -> dict[str, str]:
        """The header of the hardened mode; none where the instance does not have it."""
        ttl = {"X-aliyun-ecs-metadata-token-ttl-seconds": str(_METADATA_TOKEN_SECONDS)}
        status, body = self.ask("PUT", "/latest/api/token", ttl)
        if status == 200:
            return {"X-aliyun-ecs-metadata-token": body.decode().strip()}
        if status >= 500 or _is_true("ALIBABA_CLOUD_IMDSV1_DISABLED"):
            raise CredentialsError(f"ECS metadata: status {status} for a token")
        return {}

    def get(self, path: str, headers: dict[str, str]) -> bytes:
        status, body = self.ask("GET", path, headers)
        if status != 200:
            raise CredentialsError(f"ECS metadata: status {status}; is there a RAM role of this name?")
        return body

    def ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        url = (self.url or _METADATA_URL) + path
        return _ask("ECS metadata", method, url, headers, b"", _METADATA_TIMEOUT_MS, False)


class _OidcRole:
    def __init__(
        self,
        role_arn: str | None,
        oidc_provider_arn: str | None,
        oidc_token_file: str | None,
        session_name: str | None,
        sts_endpoint: str | None,
    ) -> None:
        self.role_arn = role_arn
        self.oidc_provider_arn = oidc_provider_arn
        self.oidc_token_file = oidc_token_file
        self.session_name = session_name
        self.sts_endpoint = sts_endpoint

    def __repr__(self) -> str:
        return f"oidc_role({self.role_arn!r})" if self.role_arn else "oidc_role()"

    def __call__(self) -> tuple[str, str, str | None, int | None]:
        from time import gmtime, strftime
        from urllib.parse import urlencode

        given = (self.role_arn, self.oidc_provider_arn, self.oidc_token_file)
        role, provider, file = (one or _variable(name) for one, name in zip(given, _OIDC_VARIABLES))
        if not (role and provider and file):
            raise CredentialsError(f"OIDC role: {', '.join(_OIDC_VARIABLES)} must be set")
        try:
            with open(file, encoding="ascii") as opened:
                token = opened.read().strip()
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"OIDC role: cannot read the token file ({type(error).__name__})"
            ) from None
        form = {
            "Action": "AssumeRoleWithOIDC",
            "Format": "JSON",
            "Version": "2015-04-01",
            "Timestamp": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()),
            "RoleArn": role,
            "OIDCProviderArn": provider,
            "OIDCToken": token,
            "RoleSessionName": self.session_name
            or _variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")
            or "pytracingx",
            "DurationSeconds": str(_SESSION_SECONDS),
        }
        endpoint = self.sts_endpoint or _sts_endpoint()
        url = endpoint if "://" in endpoint else f"https://{endpoint}"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        status, body = _ask(
            "STS", "POST", f"{url}/", headers, urlencode(form).encode(), _STS_TIMEOUT_MS, True
        )
        if status != 200:
            raise CredentialsError(f"STS: status {status} {_sts_code(body)}".rstrip())
        return _parsed("STS", body, lambda answer: answer["Credentials"])


class _FromEnvironment:
    def __repr__(self) -> str:
        return "from_environment()"

    def __call__(self) -> tuple[str, str, str | None, int | None]:
        ak_id = _variable("ALIBABA_CLOUD_ACCESS_KEY_ID")
        ak_secret = _variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
        if ak_id and ak_secret:
            return ak_id, ak_secret, _variable("ALIBABA_CLOUD_SECURITY_TOKEN"), None
        if all(map(_variable, _OIDC_VARIABLES)):
            return oidc_role()()
        return ecs_ram_role()()


_OIDC_VARIABLES = (
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
)


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _is_true(name: str) -> bool:
    return (_variable(name) or "").lower() == "true"


def _sts_endpoint() -> str:
    region = _variable("ALIBABA_CLOUD_STS_REGION")
    if region is None:
        return "sts.aliyuncs.com"
    return f"{'sts-vpc' if _is_true('ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED') else 'sts'}.{region}.aliyuncs.com"


def _ask(
    who: str, method: str, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, proxy: bool
) -> tuple[int, bytes]:
    try:
        return _fetch(method, url, headers, body, timeout_ms, proxy)
    except OSError as error:
        raise CredentialsError(f"{who}: {error}") from None


def _parsed(
    who: str, body: bytes, credentials: Callable[[Any], Any]
) -> tuple[str, str, str | None, int | None]:
    import json
    from calendar import timegm
    from time import strptime

    try:
        answer = credentials(json.loads(body))
        expires = timegm(strptime(answer["Expiration"], "%Y-%m-%dT%H:%M:%SZ"))
        return answer["AccessKeyId"], answer["AccessKeySecret"], answer["SecurityToken"], expires
    except (ValueError, KeyError, TypeError):
        raise CredentialsError(f"{who}: an answer without credentials") from None


def _sts_code(body: bytes) -> str:
    """What STS calls the error. Its message may quote the token."""
    import json

    try:
        code = json.loads(body)["Code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return code if isinstance(code, str) and code.replace(".", "").isalnum() else ""
