"""The emitted Pod, run as a kubelet would, without a cluster.

In: the folder that build.py wrote, read by a real YAML parser. The ConfigMaps become the files of the Pod's volumes,
in a kubelet's layout (links into `..data`); its containers run one after the other at their real mount paths, with
the Pod's user, without capabilities, on a read-only root that has this machine's programs and nothing else. Only the
network is this machine's, so the port is a free one in place of the node port.
"""
import base64
import contextlib
import json
import os
import pathlib
import shlex

from tests.e2e.programs import COMMAND_SECONDS, free_port, is_registry

PROGRAMS = ("usr", "bin", "lib", "lib64", "etc", "dev")  # of this machine, in place of the node image's
# A change of user would make the kernel forget that the program is to end with its parent: "keep".
UNPRIVILEGED = ["--clear-groups", "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all",
                "--pdeathsig", "keep"]


class Pod:
    """The Pod in `out`, its volumes laid out under `folder`."""

    def __init__(self, sandbox, out: pathlib.Path, folder: pathlib.Path) -> None:
        self.sandbox = sandbox
        self.out = out
        self.folder = folder
        text = sandbox.run("yq", "-c", ".", *sorted(out.glob("*.yaml")))
        objects = [json.loads(line) for line in text.splitlines()]
        self.config_maps = {item["metadata"]["name"]: item for item in objects if item["kind"] == "ConfigMap"}
        (self.spec,) = [item["spec"] for item in objects if item["kind"] == "Pod"]
        (self.service,) = [item["spec"] for item in objects if item["kind"] == "Service"]
        for volume in self.spec["volumes"]:
            self.lay_out(volume)

    def lay_out(self, volume) -> None:
        path = self.folder / volume["name"]
        data = path / "..data"
        data.mkdir(parents=True)
        if "emptyDir" in volume:
            data.rmdir()
            os.chmod(path, 0o777)
        sources = [volume] if "configMap" in volume else volume.get("projected", {}).get("sources", [])
        for source in sources:
            config_map = self.config_maps[source["configMap"]["name"]]
            for name, text in config_map["binaryData"].items():
                (data / name).write_bytes(base64.b64decode(text, validate=True))
                (path / name).symlink_to("..data/" + name)

    def root(self, container) -> str:
        """Shell code that mounts the container's root; its folder is the working directory afterwards."""
        root = self.folder / ("root-" + container["name"])
        binds = [("/" + name, name, "ro") for name in PROGRAMS if os.path.isdir("/" + name)]
        binds += [(str(self.folder / mount["name"]), mount["mountPath"].strip("/"),
                   "ro" if mount.get("readOnly") else "rw") for mount in container["volumeMounts"]]
        lines = ["mkdir -p %s" % shlex.quote(str(root)), "mount -t tmpfs tmpfs %s" % shlex.quote(str(root)),
                 "cd %s" % shlex.quote(str(root)), "mkdir proc", "mount -t proc proc proc"]
        for source, target, mode in binds:
            lines += ["mkdir -p %s" % shlex.quote(target),
                      "mount --rbind %s %s" % (shlex.quote(source), shlex.quote(target)),
                      "mount -o remount,bind,%s %s" % (mode, shlex.quote(target))]
        if container["securityContext"]["readOnlyRootFilesystem"]:
            lines.append("mount -o remount,ro .")
        return "\n".join(lines + [""])

    def started(self, container, port: int):
        """Context manager: the container as a Daemon, listening at 127.0.0.1:`port` if it listens at all."""
        node_port = ":%d" % self.service["ports"][0]["nodePort"]
        command = ["127.0.0.1:%d" % port if word == node_port else word for word in container["command"]]
        user = self.spec["securityContext"]
        return self.sandbox.daemon(
            self.folder / (container["name"] + ".log"), "chroot", ".", "setpriv", "--reuid", user["runAsUser"],
            "--regid", user["runAsGroup"], *UNPRIVILEGED, *command, mounts=self.root(container))

    @contextlib.contextmanager
    def running(self):
        """(Daemon of the serving container, address) once it is ready."""
        port = free_port()
        address = "127.0.0.1:%d" % port
        for container in self.spec["initContainers"]:
            with self.started(container, port) as daemon:
                assert daemon.process.wait(COMMAND_SECONDS) == 0, daemon.log.read_text()
        (container,) = self.spec["containers"]
        with self.started(container, port) as daemon:
            daemon.wait_until(lambda: is_registry(address))
            yield daemon, address
