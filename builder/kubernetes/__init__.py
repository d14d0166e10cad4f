"""Values -> Kubernetes objects as plain dicts -> YAML text. Nothing is written here.

In:  a Site (what the operator says of the cluster), runners, chunk names. Out: objects, in the order of applying.
Imports builder.reading and builder.payload.

    site, exposure, ports, quantity  what the operator says, its grammar; the ways of exposure
    runner, security, pod            what every Pod is made of
    manifest, config_maps, sizes     what every object begins with; bytes as ConfigMaps; how long objects are
    injector, workloads              what serves the seed
    persistent_registry              the registry that stays
    names, policy, spellings         how manifests keep the names of their images
    file_names, to_yaml              what the files of all these are called, and what is in them
"""
