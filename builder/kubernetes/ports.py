"""Port numbers, each once. Programs of stage 1 cannot import them: their defaults are twins, compared by a test."""

# Fixed, so that CRI-O and firewalls of hosts can be told of it beforehand; within NODE_PORTS, far from the numbers
# that clusters give out first and people choose.
IMAGES = 31999  # where nodes pull: from the injector, or from the persistent registry once there is one
SEED = 31998  # the injector's, where a persistent registry has the usual one
NODE_PORTS = range(30000, 32768)  # https://kubernetes.io/docs/reference/networking/service-protos/ (default range)
# Kubernetes' own processes on a node: https://kubernetes.io/docs/reference/networking/ports-and-protocols/
OF_KUBERNETES = (2379, 2380, 2381, 6443, *range(10248, 10260))
UNPRIVILEGED = range(1024, 1 << 16)  # the server is not root; https://www.rfc-editor.org/rfc/rfc6335#section-6

# In the Pod of the persistent registry, where all containers share one network.
REGISTRY = 5000  # of the registry that accepts pushes, only on loopback: the usual one
HEALTH = 5001  # of the spooler
SERVE = 5002  # of the registry that only serves
