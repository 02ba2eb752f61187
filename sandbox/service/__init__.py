"""Kernels over HTTP: ``codeact serve sandbox``.

Contract: a client with a token creates kernels, runs cells in them (as one answer, or as events while they run),
interrupts, forks, moves files and deletes; ``/openapi.json`` describes it all. A request id makes a repeated request
the same request. A kernel nobody calls for the length of its lease is ended, and a cell whose client went away is
interrupted: clients that are lost leave nothing. The service trusts its tenants no further than their limits, and
their code not at all. It speaks plain HTTP: put a proxy with TLS before it where the network is not private.

``app`` builds the application, ``service`` holds its state, ``routes`` and ``legacy`` are its HTTP, ``client`` is a
pool of remote kernels for Python.
"""
