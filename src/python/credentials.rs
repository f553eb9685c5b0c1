//! The native side of credential providers, whose Python is in `_worker.py`: what their threads wait for and answer.
//! Cold: once per renewal. Waits only with the interpreter released.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::arguments::{Pairs, Text};
use crate::config::{Endpoint, PathRule, Protocol, Proxies, Secret};
use crate::emit::{self, Intake};
use crate::session;
use crate::transport::fetch::{Question, fetch};
use crate::transport::sls_credentials::Credentials;
use crate::transport::sls_sign::AccessKey;

/// What never needs a provider is looked at as rarely.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// Gives a new session's providers their threads. `providers` are those of its SLS sinks, in order.
pub(super) fn session_began(py: Python<'_>, providers: Vec<Option<Bound<'_, PyAny>>>) -> PyResult<()> {
    let wanted = providers.iter().any(Option::is_some);
    let modules = py.import("sys")?.getattr("modules")?;
    let worker = match modules.cast::<PyDict>()?.get_item("pytracingx._worker")? {
        None if wanted => py.import("pytracingx._worker")?.into_any(),
        None => return Ok(()),
        // Also without any: it forgets those of the session before.
        Some(worker) => worker,
    };
    worker.call_method1("provide", (PyList::new(py, providers)?,)).map(|_| ())
}

/// The SLS sinks that one provider gives credentials to.
#[pyclass(module = "pytracingx._native", name = "_CredentialRequests", frozen)]
pub(super) struct CredentialRequests {
    intake: Arc<Intake>,
    credentials: Vec<Credentials>,
}

/// Of the current session, for its SLS sinks with these numbers. None: it has no such sinks, or sends nothing.
#[pyfunction]
pub(super) fn _credentials(sinks: Vec<usize>) -> Option<CredentialRequests> {
    let intake = emit::with(emit::session(), |thread| thread.intake.clone())?;
    let all = session::sls_credentials();
    let credentials: Vec<_> = sinks.iter().filter_map(|&sink| all.get(sink).cloned()).collect();
    credentials.iter().for_each(|one| one.serve(intake.observations.clone()));
    (!credentials.is_empty()).then_some(CredentialRequests { intake, credentials })
}

#[pymethods]
impl CredentialRequests {
    /// Waits until credentials are wanted. False: the session has ended.
    fn wait(&self, py: Python<'_>) -> bool {
        let due = || self.credentials.iter().filter_map(Credentials::wanted_in).min().unwrap_or(LOOK_AGAIN);
        py.detach(|| self.intake.observations.wait_until_due(due))
    }

    /// The provider's answer.
    #[pyo3(signature = (ak_id, ak_secret, security_token = None, expires_unix_seconds = None))]
    fn answer(
        &self,
        ak_id: Text,
        ak_secret: Text,
        security_token: Option<Text>,
        expires_unix_seconds: Option<u64>,
    ) -> PyResult<()> {
        let id = printable("the id", ak_id)?;
        let secret = printable("the secret", ak_secret)?;
        let token = security_token.filter(|token| !token.0.is_empty());
        let security_token = token.map(|token| printable("the token", token)).transpose()?;
        let key = AccessKey { id, secret, security_token };
        self.credentials.iter().for_each(|one| one.set(key.clone(), expires_unix_seconds));
        self.intake.lanes.waker().wake();
        Ok(())
    }

    /// The provider gave nothing usable. The first time in a row it is told.
    fn failed(&self, error: Text) {
        let first = self.credentials.iter().fold(false, |first, one| one.fail(&error.0) | first);
        if first {
            let line = format!("SLS credentials: {}; asking again", error.0);
            self.intake.instruments.tell(line);
        }
        self.intake.lanes.waker().wake();
    }
}

/// One HTTP request, for a provider: status and body of the answer, whatever it says. `proxy`: through the one that the
/// environment names for the URL, if any. OSError: there is none, in one
/// line without anything of the request but its host.
#[pyfunction]
pub(super) fn _fetch<'py>(
    py: Python<'py>,
    method: Text,
    url: Text,
    headers: Pairs,
    body: &[u8],
    timeout_ms: u64,
    proxy: bool,
) -> PyResult<(u16, Bound<'py, PyBytes>)> {
    let timeout = Duration::from_millis(timeout_ms);
    let proxies = proxy.then(|| Proxies::from_env(|name| std::env::var(name).ok()).0);
    let endpoint = Endpoint::parse("url", &url.0, Some(Protocol::HttpProtobuf), None, PathRule::AsIs);
    let (endpoint, _) = endpoint.map_err(|error| PyOSError::new_err(error.to_string()))?;
    let proxy = proxies.as_ref().and_then(|proxies| proxies.towards(&endpoint));
    let question =
        Question { method: &method.0, endpoint: &endpoint, headers: &headers.0, body, timeout, proxy };
    let (status, body) = py.detach(|| fetch(&question)).map_err(PyOSError::new_err)?;
    Ok((status, PyBytes::new(py, &body)))
}

/// What a header can carry; says so without showing it.
fn printable(what: &str, text: Text) -> PyResult<Secret> {
    let secret = Secret::new(text.0);
    if !secret.expose().is_empty() && secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(secret);
    }
    Err(PyValueError::new_err(format!("{what} is empty or not printable ASCII")))
}
