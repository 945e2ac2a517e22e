"""What a pod's containers get from the API: environment, volumes, the downward API, tokens. As the kubelet does it: a volume of
many files is changed at once through a link (..data), a token is drawn anew before it expires, an unknown key fails the pod."""

import base64
import os
import re
import shutil
import time
from pathlib import Path

import kubeapi

TOKEN_REFRESH = 0.8  # of its life: the kubelet's figure
UNITS = {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "m": 1e-3, "": 1,
}  # fmt: skip
REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z0-9]+)\))")
LABEL_PATH = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


class NotYet(Exception):
    """Something that the pod needs is not there: the kubelet waits for it and says so."""


class Unsupported(Exception):
    """A field that this runner does not honour: it never runs a pod by halves."""


def quantity(text):
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text)).groups()
    return float(number) * UNITS[unit]


def only(where, document, *known):
    """Refuses what is not in `known`: a silent omission would make a test pass that must not."""
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise Unsupported(f"{where}: {', '.join(unknown)}")


class Sources:
    """Reads for one pod through the node's credentials. `facts`: what of its status the kubelet knows first (IPs)."""

    def __init__(self, api, pod, facts, allocatable):
        self.api, self.pod, self.facts, self.allocatable = api, pod, facts, allocatable
        self.namespace = pod["metadata"]["namespace"]

    def data(self, kind, name, optional):
        """The keys of a Secret or ConfigMap as bytes; {} where it is optional and missing."""
        try:
            found = self.api.get(kind, name, self.namespace)
        except (OSError, kubeapi.ApiError) as error:
            raise NotYet(f"{kind} {name}: {error}") from None
        if found is None:
            if optional:
                return {}
            raise NotYet(f"{kind[:-1]} {name!r} not found")
        data = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        for key, value in (found.get("data") or {}).items():
            data[key] = base64.b64decode(value) if kind == "secrets" else value.encode()
        return data

    def one(self, kind, reference):
        data = self.data(kind, reference["name"], reference.get("optional"))
        if reference["key"] not in data:
            if reference.get("optional"):
                return None
            raise NotYet(f"couldn't find key {reference['key']} in {kind[:-1]} {reference['name']}")
        return data[reference["key"]]

    def field(self, path):
        meta, spec = self.pod["metadata"], self.pod["spec"]
        found = LABEL_PATH.match(path)
        if found:
            return (meta.get(found[1]) or {}).get(found[2], "")
        if path in ("metadata.labels", "metadata.annotations"):
            pairs = meta.get(path.split(".")[1]) or {}
            return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
        known = {
            "metadata.name": meta["name"], "metadata.namespace": self.namespace, "metadata.uid": meta["uid"],
            "spec.nodeName": spec["nodeName"], "spec.serviceAccountName": spec.get("serviceAccountName", ""), **self.facts,
        }  # fmt: skip
        if path not in known:
            raise Unsupported(f"fieldRef {path}")
        return known[path]

    def resource(self, reference, container):
        if "containerName" in reference:
            container = next(c for c in self.pod["spec"]["containers"] if c["name"] == reference["containerName"])
        which, name = reference["resource"].split(".", 1)
        given = (container.get("resources") or {}).get(which, {})
        value = given.get(name, self.allocatable.get(name, "0") if which == "limits" else "0")
        divisor = quantity(reference.get("divisor", "1") or "1") or 1
        return str(int(-(-quantity(value) // divisor)))  # rounded up

    def token(self, source):
        """(token, when it is to be drawn anew, on the monotonic clock)."""
        meta, seconds = self.pod["metadata"], source.get("expirationSeconds", 3600)
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        spec = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if source.get("audience"):
            spec["audiences"] = [source["audience"]]
        path = self.api.path("serviceaccounts", self.namespace, self.pod["spec"]["serviceAccountName"], "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            return self.api.request("POST", path, body)["status"]["token"].encode(), time.monotonic() + TOKEN_REFRESH * seconds
        except (OSError, kubeapi.ApiError) as error:
            raise NotYet(f"failed to fetch token: {error}") from None

    def environment(self, container, base):
        env = dict(base)
        for source in container.get("envFrom", ()):
            only("envFrom", source, "prefix", "secretRef", "configMapRef")
            kind = "secrets" if "secretRef" in source else "configmaps"
            reference = source.get("secretRef") or source["configMapRef"]
            for key, value in self.data(kind, reference["name"], reference.get("optional")).items():
                env[source.get("prefix", "") + key] = value.decode()
        for entry in container.get("env", ()):
            value = self._value(entry, container, env)
            if value is not None:
                env[entry["name"]] = value
        return env

    def _value(self, entry, container, env):
        source = entry.get("valueFrom")
        if not source:
            return expand(entry.get("value", ""), env)
        only("valueFrom", source, "fieldRef", "resourceFieldRef", "secretKeyRef", "configMapKeyRef")
        if "fieldRef" in source:
            return self.field(source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            return self.resource(source["resourceFieldRef"], container)
        kind = "secrets" if "secretKeyRef" in source else "configmaps"
        value = self.one(kind, source.get("secretKeyRef") or source["configMapKeyRef"])
        return None if value is None else value.decode()


def expand(text, env):
    """$(NAME) where NAME is known, $$ for $; what is unknown stays as it is written."""
    return REFERENCE.sub(lambda m: "$" if m[1] == "$" else env.get(m[2], m[0]), text)


def write_files(folder, files, group=None):
    """files: path -> (bytes, mode); `group` (fsGroup) may read them as the kubelet lets it. Readers see all of the old ones or all of the new ones."""
    folder.mkdir(parents=True, exist_ok=True)
    link, fresh = folder / "..data", folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{os.urandom(4).hex()}"
    old = os.readlink(link) if link.is_symlink() else None
    for path, (data, mode) in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(mode if group is None else mode | 0o440)
        if group is not None:
            os.chown(target, -1, group)
    fresh.mkdir(exist_ok=True)
    (folder / "..data_tmp").symlink_to(fresh.name)
    (folder / "..data_tmp").rename(link)
    tops = {path.split("/")[0] for path in files}
    for top in tops:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if old:
        shutil.rmtree(folder / old)


class Volume:
    """One volume of a pod: .path is what is mounted. refresh() writes what has changed at its sources."""

    KINDS = ("emptyDir", "hostPath", "secret", "configMap", "downwardAPI", "projected")

    def __init__(self, spec, folder, sources):
        only(f"volume {spec['name']}", spec, "name", *self.KINDS)
        self.spec, self.sources, self.path = spec, sources, Path(folder) / spec["name"]
        self.kind = next(kind for kind in self.KINDS if kind in spec)
        self.is_memory, self.written, self.tokens, self.group = False, None, {}, None
        self.read_only = self.kind not in ("emptyDir", "hostPath")

    def make(self, group=None):
        self.group = group
        if self.kind == "hostPath":
            self._host_path()
        elif self.kind == "emptyDir":
            self._empty(group)
        else:
            self.refresh()

    def _empty(self, group):
        self.path.mkdir(parents=True)
        given = self.spec["emptyDir"] or {}
        only("emptyDir", given, "medium", "sizeLimit")
        if given.get("medium"):
            self.is_memory = True
            self.size = int(quantity(given["sizeLimit"])) if "sizeLimit" in given else None
        os.chmod(self.path, 0o777)
        if group is not None:
            os.chown(self.path, -1, group)
            os.chmod(self.path, 0o2777)

    def _host_path(self):
        self.path = Path(self.spec["hostPath"]["path"])
        kind = self.spec["hostPath"].get("type", "")
        if kind == "DirectoryOrCreate":
            self.path.mkdir(parents=True, exist_ok=True)
        good = {"": self.path.exists(), "Directory": self.path.is_dir(), "DirectoryOrCreate": True, "File": self.path.is_file()}
        if kind not in good:
            raise Unsupported(f"hostPath type {kind}")
        if not good[kind]:
            raise NotYet(f"hostPath type check failed: {self.path} is not a {kind or 'path'}")

    def refresh(self):
        if self.kind in ("emptyDir", "hostPath"):
            return
        files = self._files()
        if files != self.written:
            write_files(self.path, files, self.group)
            self.written = files

    def _files(self):
        given = self.spec[self.kind]
        mode = given.get("defaultMode", 0o644)
        if self.kind != "projected":
            return self._source(self.kind, given, mode)
        files = {}
        for source in given["sources"]:
            only("projected source", source, "secret", "configMap", "downwardAPI", "serviceAccountToken")
            kind = next(iter(source))
            files.update(self._source(kind, source[kind], mode))
        return files

    def _source(self, kind, given, mode):
        if kind == "serviceAccountToken":
            token, due = self.tokens.get(given["path"], (None, 0))
            if time.monotonic() >= due:
                token, due = self.tokens[given["path"]] = self.sources.token(given)
            return {given["path"]: (token, mode)}
        if kind == "downwardAPI":
            return {item["path"]: (self._downward(item).encode(), item.get("mode", mode)) for item in given.get("items", ())}
        name = given.get("secretName") or given["name"]
        data = self.sources.data("secrets" if kind == "secret" else "configmaps", name, given.get("optional"))
        if "items" not in given:
            return {key: (value, mode) for key, value in data.items()}
        missing = [item["key"] for item in given["items"] if item["key"] not in data]
        if missing and not given.get("optional"):
            raise NotYet(f"references non-existent {kind} key: {missing[0]}")
        return {item["path"]: (data[item["key"]], item.get("mode", mode)) for item in given["items"] if item["key"] in data}

    def _downward(self, item):
        if "fieldRef" in item:
            return self.sources.field(item["fieldRef"]["fieldPath"])
        return self.sources.resource(item["resourceFieldRef"], {})
