"""Values -> Kubernetes objects as plain dicts -> YAML text. Nothing is written here.

In:  a Site (what the operator says of the cluster), runners, chunk names. Out: objects, in the order of applying.
Imports builder.reading and builder.payload.

    site, exposure, quantity        what the operator says, checked
    runner, security, pod           what every Pod is made of
    manifest, config_maps, sizes    what every object begins with; bytes as ConfigMaps; how long objects are
    injector, workloads             what serves the seed
    persistent_registry             the registry that stays
    to_yaml                         objects -> text
"""
