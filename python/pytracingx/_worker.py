"""Runs what only Python can, for an exporter that never touches it: callbacks of observable instruments,
providers of credentials.

For callbacks two daemon threads. The worker waits for the exporter's questions, records what the callbacks
gave, and answers. The runner runs them one after the other; one that takes too long is left to itself, with
its runner, and the worker goes on with another runner. For each provider of credentials one daemon thread
more. All are threads of the operating system and wait on its locks, also where gevent or eventlet has
replaced Python's: a greenlet that waits for the exporter would stop all others.

Imported with the first observable instrument or provider: not every process needs ``threading``.
"""

from __future__ import annotations

import os
import sys
import threading
from _queue import Empty, SimpleQueue
from contextlib import suppress
from itertools import islice
from time import monotonic, time

from ._native import Observation, _credentials, _observer, _runs_callbacks
from .aliyun import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._native import _CredentialRequests, _Observer

    _Pair = tuple[Any, Any]

# The exporter waits for a second.
_CALLBACK_MS = 400
# More observations of one callback, an endless generator's for instance, are not taken.
_MAX_OBSERVATIONS = 65_536


def _original(name: str) -> Any:
    """What `_thread` had under this name before gevent or eventlet put its own there."""
    import _thread

    if gevent := sys.modules.get("gevent.monkey"):
        return gevent.get_original("_thread", name)
    if eventlet := sys.modules.get("eventlet.patcher"):
        return getattr(eventlet.original("_thread"), name)
    return getattr(_thread, name)


class _Thread:
    """A daemon thread."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self._python: threading.Thread | None = None
        self._ended: SimpleQueue[None] = SimpleQueue()

    def start(self) -> None:
        """Raise RuntimeError when there can be no thread any more."""
        import _thread

        start = _original("start_new_thread")
        if start is _thread.start_new_thread:
            self._python = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._python.start()
        else:
            start(self._run_and_say, ())

    def _run_and_say(self) -> None:
        try:
            self._run()
        finally:
            self._ended.put(None)

    def join(self, timeout_s: float) -> None:
        """Once at most."""
        if self._python is not None:
            return self._python.join(timeout_s)
        with suppress(Empty):
            self._ended.get(timeout=timeout_s)


class CallbackOptions:
    """What a callback that takes an argument gets, as OpenTelemetry's."""

    __slots__ = ("timeout_millis",)

    def __init__(self, timeout_millis: float) -> None:
        self.timeout_millis = timeout_millis


class _Observable:
    """An instrument and one of its callbacks."""

    def __init__(self, instrument: Any, callback: Any) -> None:
        self.instrument = instrument
        self.call = _without_arguments(callback)
        self.stuck_in: _Runner | None = None
        self.told = False

    def observe(self) -> tuple[list[_Pair], str | None]:
        """What the callback gives, and what was wrong."""
        pairs: list[_Pair] = []
        try:
            for each in islice(_each(self.call()), _MAX_OBSERVATIONS):
                pairs.append(_pair(each))
        except BaseException as error:  # of a SystemExit too nobody but us would hear
            return pairs, type(error).__name__
        return pairs, None

    def warning(self, what: str) -> str | None:
        if self.told:
            return None
        self.told = True
        return f"a callback of {self.instrument!r}: {what}; see stats()"


def _without_arguments(callback: Any) -> Callable[[], Any]:
    """Raise TypeError for what cannot be called with nothing or with CallbackOptions."""
    options = CallbackOptions(_CALLBACK_MS)
    if hasattr(callback, "send") and hasattr(
        callback, "throw"
    ):  # OpenTelemetry's other form: it waits at `yield`
        next(callback)
        return lambda: callback.send(options)
    if not callable(callback):
        raise TypeError(f"callback must be callable, got {type(callback).__name__}")
    import inspect

    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # a builtin that does not say
        return callback  # type: ignore[no-any-return]
    try:
        signature.bind()
        return callback  # type: ignore[no-any-return]
    except TypeError:
        pass
    try:
        signature.bind(options)
    except TypeError:
        raise TypeError(f"callback must take no argument or one, not {signature}") from None
    return lambda: callback(options)


def _each(given: Any) -> Iterable[Any]:
    if given is None:
        return ()
    is_pair = isinstance(given, tuple) and len(given) == 2 and (given[1] is None or hasattr(given[1], "keys"))
    if is_pair or isinstance(given, (str, bytes, dict)) or hasattr(given, "value"):
        return (given,)
    try:
        observations: Iterable[Any] = iter(given)
    except TypeError:
        return (given,)
    return observations


def _pair(given: Any) -> _Pair:
    if type(given) is Observation:
        return given.value, given.attributes
    if isinstance(given, tuple) and len(given) == 2:
        return given
    if hasattr(given, "value"):
        return given.value, getattr(given, "attributes", None)
    return given, None


class _Runner:
    """A thread that runs callbacks. What it gives comes in the order of what it was given."""

    def __init__(self) -> None:
        self.given: SimpleQueue[list[_Observable] | None] = SimpleQueue()
        self.done: SimpleQueue[tuple[list[_Pair], str | None]] = SimpleQueue()
        # Held while one side looks whether the other was there first: a callback that ends at its deadline.
        self.lock = _original("allocate_lock")()
        _Thread(self._run, "pytracingx-callbacks").start()

    def _run(self) -> None:
        _runs_callbacks()
        for observables in iter(self.given.get, None):
            for observable in observables:
                result = observable.observe()
                with self.lock:
                    self.done.put(result)
                    if observable.stuck_in is self:  # too late: the worker has left this runner
                        observable.stuck_in = None
                        return

    def result(self, observable: _Observable) -> tuple[list[_Pair], str | None] | None:
        """What the callback gives; None if it takes too long, and the runner is left to it."""
        try:
            return self.done.get(timeout=_CALLBACK_MS / 1000)
        except Empty:
            pass
        with self.lock:
            if self.done.empty():
                observable.stuck_in = self
                return None
            return self.done.get()


class _Worker:
    """The worker of one session."""

    def __init__(self, observer: _Observer) -> None:
        self.observer = observer
        self.runner: _Runner | None = None
        self.thread = _Thread(self._run, "pytracingx-worker")

    def _run(self) -> None:
        while (question := self.observer.wait()) is not None:
            try:
                self._observe([each for each in _observables if each.stuck_in is None])
            finally:
                self.observer.answer(question)
        if self.runner is not None:
            self.runner.given.put(None)

    def _observe(self, observables: list[_Observable]) -> None:
        while observables:
            if self.runner is None:
                try:
                    self.runner = _Runner()
                except RuntimeError:  # no thread any more, at interpreter exit for instance
                    return
            self.runner.given.put(observables)
            observables = self._record(observables, self.runner)

    def _record(self, observables: list[_Observable], runner: _Runner) -> list[_Observable]:
        """Record what the runner gives for each; the rest when it got stuck."""
        for index, observable in enumerate(observables):
            result = runner.result(observable)
            if result is None:
                self.runner = None
                self.observer.failed(observable.warning(f"no answer within {_CALLBACK_MS} ms"))
                return observables[index + 1 :]
            pairs, wrong = result
            if wrong is not None:
                self.observer.failed(observable.warning(wrong))
            for value, attributes in pairs:
                try:
                    self.observer.record(observable.instrument, value, attributes)
                except BaseException as error:
                    self.observer.failed(observable.warning(type(error).__name__))
        return []


class _CredentialWorker:
    """Gives one provider's credentials to the sinks of one session."""

    def __init__(self, provider: Callable[[], Any], requests: _CredentialRequests) -> None:
        self.provider = provider
        self.requests = requests
        self.thread = _Thread(self._run, "pytracingx-credentials")

    def _run(self) -> None:
        _runs_callbacks()
        while self.requests.wait():
            try:
                self.requests.answer(*_key(self.provider()))
            except CredentialsError as error:
                self.requests.failed(str(error))
            except BaseException as error:  # its text may hold a secret
                self.requests.failed(f"the provider raised {type(error).__name__}")


def _key(given: Any) -> tuple[str, str, str | None, int | None]:
    """Raise CredentialsError for what is no key, or one that has expired."""
    if not isinstance(given, (tuple, list)):
        names = ("access_key_id", "access_key_secret", "security_token", "expires_unix_seconds")
        given = [getattr(given, name, None) for name in names]
    ak_id, ak_secret, security_token, expires = (*given, None, None, None, None)[:4]
    token = security_token or None
    # Checked here, for a text without a value.
    if (
        len(given) > 4
        or not (_is_visible(ak_id) and _is_visible(ak_secret) and (token is None or _is_visible(token)))
        or not (expires is None or (isinstance(expires, (int, float)) and abs(expires) < 1 << 62))
    ):
        raise CredentialsError(
            "the provider gave no (id, secret, token) or (id, secret, token, expires_unix_seconds)"
        )
    if expires is not None and expires <= time():
        raise CredentialsError("the provider gave a key that has expired, by this machine's clock")
    return ak_id, ak_secret, token, None if expires is None else int(expires)


def _is_visible(text: Any) -> bool:
    """Visible ASCII, and some: what a header can carry."""
    return isinstance(text, str) and text != "" and all("!" <= character <= "~" for character in text)


_lock = threading.RLock()
_observables: list[_Observable] = []
_worker: _Worker | None = None
_providers: list[Callable[[], Any] | None] = []
_credential_workers: list[_CredentialWorker] = []


def add(instrument: Any, callback: Any) -> None:
    """Give an instrument a callback."""
    _observables.append(_Observable(instrument, callback))
    start()


def start() -> None:
    """Start the worker of the current session, if it has none and wants one."""
    global _worker
    with _lock:
        observer = _observer() if _observables else None
        if observer is None:
            return
        worker = _Worker(observer)
        try:
            worker.thread.start()
        except RuntimeError:
            return
        _worker = worker
        observer.attend()


def provide(providers: list[Callable[[], Any] | None]) -> None:
    """Start a thread for each provider of the current session; each SLS sink has one, or None."""
    global _providers
    with _lock:
        _providers = providers
        _credential_workers.clear()
        for provider in {id(provider): provider for provider in providers if provider is not None}.values():
            requests = _credentials([index for index, each in enumerate(providers) if each is provider])
            if requests is None:
                return
            worker = _CredentialWorker(provider, requests)
            try:
                worker.thread.start()
            except RuntimeError:
                return
            _credential_workers.append(worker)


def join(timeout_s: float) -> None:
    """Wait for the threads of the session that has ended."""
    give_up = monotonic() + timeout_s
    for worker in (_worker, *_credential_workers):
        if worker is not None:
            worker.thread.join(max(0.0, give_up - monotonic()))


def _after_fork_in_child() -> None:
    global _lock, _worker
    _lock = threading.RLock()
    had_worker, _worker = _worker is not None, None
    for observable in _observables:
        observable.stuck_in = None
    if had_worker:
        start()
    if _credential_workers:
        provide(_providers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
