"""The sandbox in containers: one container per node, or per group that trusts itself, with many kernels inside.

``Dockerfile`` (Docker, Podman, Kubernetes) and ``apptainer.def`` build the image; ``seccomp.json`` is the system call
filter such a container is run with so that tier T2 works in it, and ``kubernetes/`` the manifests of a cluster.
``requirements`` says what the image installs, ``profile`` makes ``seccomp.json``. docs/containers.md tells how they are used.
"""
