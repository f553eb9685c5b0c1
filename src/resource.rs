//! Resource detection: what this process can say about itself. Reads a few small files and the environment it is given;
//! called when a session starts and again in a forked child, so that the process id, the instance id and the rest are
//! never the parent's. The language runtime does not change: whoever embeds the core puts `process.runtime.*` into the
//! configured resource.

use std::fs;

use crate::config::{Resource, ResourceValue};

/// Launcher variables of distributed jobs and the attributes they become (OpenTelemetry has no names for them).
const RANKS: [(&str, &str); 3] =
    [("RANK", "process.rank"), ("LOCAL_RANK", "process.local_rank"), ("WORLD_SIZE", "process.world_size")];

/// The resource of a session: what was said (arguments before environment, see [`crate::config`]) and, where nothing
/// was, what is detected now. `service.instance.id` is a fresh random UUID at every call.
pub fn complete(said: &Resource, variable: impl Fn(&str) -> Option<String>) -> Resource {
    let mut resource = said.clone();
    let text = |value: &str| ResourceValue::Str(value.to_owned());
    resource.add_missing("service.name", text(crate::config::UNKNOWN_SERVICE));
    resource.add_missing("telemetry.sdk.name", text("pytracingx"));
    resource.add_missing("telemetry.sdk.language", text("python"));
    resource.add_missing("telemetry.sdk.version", text(env!("CARGO_PKG_VERSION")));
    resource.add_missing("process.pid", ResourceValue::Int(i64::from(std::process::id())));
    for (name, key) in RANKS {
        if let Some(rank) = variable(name).and_then(|value| value.trim().parse().ok()) {
            resource.add_missing(key, ResourceValue::Int(rank));
        }
    }
    let found = [
        ("service.instance.id", random_uuid()),
        ("host.name", host_name()),
        ("container.id", container_id()),
    ];
    for (key, value) in found {
        if let Some(value) = value {
            resource.add_missing(key, ResourceValue::Str(value));
        }
    }
    resource
}

/// The host's name, as `host.name` and as the default source of SLS sinks.
pub fn host_name() -> Option<String> {
    let name = hostname::get().ok()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// Version 4, from the operating system's entropy; `None` where there is none.
fn random_uuid() -> Option<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).ok()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut hex = [0; 32];
    crate::ids::hex_into(&bytes, &mut hex);
    let hex = std::str::from_utf8(&hex).ok()?;
    Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

fn container_id() -> Option<String> {
    let of = |path: &str, parse: fn(&str) -> Option<&str>| {
        fs::read_to_string(path).ok().and_then(|text| parse(&text).map(str::to_owned))
    };
    of("/proc/self/cgroup", container_id_from_cgroup)
        .or_else(|| of("/proc/self/mountinfo", container_id_from_mountinfo))
}

/// From `/proc/self/cgroup` (version 1, and version 2 without a cgroup namespace): the last path segment, with or
/// without a runtime's prefix and `.scope`, when it is 64 hexadecimal digits.
pub fn container_id_from_cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let segment = line.rsplit('/').next()?;
        let segment = segment.strip_suffix(".scope").unwrap_or(segment);
        let segment = segment.rsplit(['-', ':']).next()?;
        is_container_id(segment).then_some(segment)
    })
}

/// From `/proc/self/mountinfo` (version 2): the directory from which the runtime mounts the container's `/etc/hostname`.
pub fn container_id_from_mountinfo(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        (mount_point == "/etc/hostname").then_some(())?;
        root.split('/').find(|segment| is_container_id(segment))
    })
}

fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit())
}
