"""Archive bytes -> images: every producer's archive as one kind of value, every blob hashed.

In:  a path or a stream; nothing of it is trusted.
Out: Image values (oci.py) whose blobs have proven digests and sizes, and are opened again when they are needed.
Imports only the standard library, and keeps to Python 3.6: spooler.pyz takes this folder into the cluster.
"""
