"""The sandbox in containers: one container per node, or per group that trusts itself, with many kernels inside.

``Dockerfile`` (Docker, Podman, Kubernetes) and ``apptainer.def`` build the image, from ``requirements.txt``;
``seccomp.json``, made by :mod:`sandbox.containers.profile`, is the system call filter that lets tier T2 work in it;
``kubernetes/`` holds the manifests of a cluster. docs/containers.md is the guide.
"""
