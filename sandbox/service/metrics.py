"""Prometheus metrics of the service: kernels, cells and refused requests per tenant.

Contract: numbers only, never code, output or tokens. Each service has its own registry.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sandbox.pool import KernelPool
from sandbox.result import CellResult

PREFIX = "codeact_sandbox_"
CELL_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1, 5, 30, 120, 600)
START_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10)


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.kernels = self._gauge("kernels", "Kernels lent now.")
        self.running = self._gauge("cells_running", "Cells running or waiting now.")
        self.opened = self._counter("kernels_opened", "Kernels lent so far.")
        self.expired = self._counter("leases_expired", "Kernels ended because their lease expired.")
        self.refused = self._counter("refused", "Requests refused.", "kind")
        self.starts = self._histogram("kernel_open_seconds", "Time to a kernel.", START_BUCKETS_S)
        self._cells = self._counter("cells", "Cells that ended, by outcome.", "status")
        self._seconds = self._histogram("cell_seconds", "Time cells took.", CELL_BUCKETS_S)

    def observe_pools(self, pools: Collection[KernelPool]) -> None:
        """Adds gauges that read the pools' own counts when the metrics are rendered."""
        for name, what, get in (
            ("pool_ready", "Warm kernels.", lambda pool: pool.ready),
            ("pool_waiting", "Callers that wait for room.", lambda pool: pool.waiting),
            ("pool_lost", "Kernels lost with a fork server that died.", lambda pool: pool.lost),
        ):
            gauge = Gauge(PREFIX + name, what, registry=self._registry)
            gauge.set_function(lambda get=get: sum(map(get, pools)))  # type: ignore[misc]

    def cell_ended(self, tenant: str, result: CellResult | None) -> None:
        """Counts a cell that has ended; None if it has no result."""
        self.running.labels(tenant).dec()
        self._cells.labels(tenant, result.status if result else "no_result").inc()
        if result is not None:
            self._seconds.labels(tenant).observe(result.seconds)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(PREFIX + name, what, ["tenant"], registry=self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, what, ["tenant", *labels], registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, what, ["tenant"], buckets=buckets, registry=self._registry)
