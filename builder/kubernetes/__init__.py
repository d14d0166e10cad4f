"""Values -> Kubernetes objects as plain dicts -> YAML text. Nothing is written here.

In:  a Site (what the operator says of the cluster), runners, chunk names. Out: objects, in the order of applying.
Imports builder.reading and builder.payload.
"""
