"""Values -> Kubernetes objects as plain dicts -> YAML text. Nothing is written here.

In:  a Site (the operator's options for the cluster), runners, chunk names. Out: objects, in the order of applying.
Imports builder.reading and builder.payload.

    site, exposure, ports, quantity  the operator's options and their grammar; the exposures
    runner, security, pod            the parts of every Pod
    manifest, labels                 the parts of every object
    config_maps, sizes               bytes as ConfigMaps; sizes of objects
    injector_pod, workloads          the injector: its Pod, its workload and Service
    persistent_registry              the persistent registry
    names, policy, spellings         original names of images in manifests (--names)
    facts                            the decisions of a build, and their JSON
    file_names, to_yaml, files       the files of OUT: their names, the YAML of objects, all of these
    kubectl, steps                   the commands that a user types, and their order
"""
