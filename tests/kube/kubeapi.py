"""The API of a Kubernetes cluster as tests and the rig need it: one request, one connection; documents are dicts."""

import http.client
import json
import ssl
from urllib.parse import quote, urlencode

GROUPS = {
    "pods": "api/v1", "nodes": "api/v1", "events": "api/v1", "secrets": "api/v1", "configmaps": "api/v1", "services": "api/v1",
    "namespaces": "api/v1", "serviceaccounts": "api/v1", "resourcequotas": "api/v1", "limitranges": "api/v1",
    "deployments": "apis/apps/v1", "replicasets": "apis/apps/v1", "statefulsets": "apis/apps/v1",
    "leases": "apis/coordination.k8s.io/v1", "endpointslices": "apis/discovery.k8s.io/v1",
    "poddisruptionbudgets": "apis/policy/v1", "networkpolicies": "apis/networking.k8s.io/v1",
    "roles": "apis/rbac.authorization.k8s.io/v1", "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    "clusterroles": "apis/rbac.authorization.k8s.io/v1", "clusterrolebindings": "apis/rbac.authorization.k8s.io/v1",
    "customresourcedefinitions": "apis/apiextensions.k8s.io/v1", "priorityclasses": "apis/scheduling.k8s.io/v1",
    "apps": "apis/astra-ray.dev/v1alpha1", "pools": "apis/astra-ray.dev/v1alpha1",
}  # fmt: skip
CLUSTER_WIDE = {
    "nodes", "namespaces", "clusterroles", "clusterrolebindings", "customresourcedefinitions", "priorityclasses",
}  # fmt: skip
MERGE, STRATEGIC, APPLY = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"


class ApiError(Exception):
    """The API server refused: .status is HTTP's, .reason Kubernetes' word, .headers the answer's."""

    def __init__(self, status, body, headers, asked):
        try:
            document = json.loads(body)
        except ValueError:
            document = {"message": body[:300].decode(errors="replace")}
        self.status, self.reason, self.headers, self.asked = status, document.get("reason"), headers, asked
        super().__init__(f"{asked}: {status} {self.reason}: {document.get('message')}")


def lines(answer):
    """Lines of a chunked answer; an HTTPException or OSError when it was cut off. (readline() takes any end for a clean one.)"""
    rest = b""
    while data := answer.read1(1 << 16):
        *whole, rest = (rest + data).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        raise http.client.IncompleteRead(rest)


class Api:
    """Whoever presents `token` (or the certificate and key of `certificate`) to the server at host:port."""

    def __init__(self, host, port, ca_file, token=None, certificate=None):
        self.host, self.port, self.token = host, port, token
        self.context = ssl.create_default_context(cafile=ca_file)
        if certificate:
            self.context.load_cert_chain(*certificate)

    def open(self, method, path, body=None, content="application/json", timeout_s=30, headers=()):
        """(connection, answer) once the answer has begun; an ApiError from status 400 on, an OSError without an answer."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=self.context)
        try:
            sent = {"Accept": "application/json", **dict(headers)}
            if self.token:
                sent["Authorization"] = f"Bearer {self.token}"
            if body is not None:
                sent["Content-Type"] = content
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise ApiError(answer.status, answer.read(), answer.headers, f"{method} {path}")
            return connection, answer
        except BaseException:
            connection.close()
            raise

    def request(self, method, path, body=None, content="application/json", timeout_s=30):
        connection, answer = self.open(method, path, body, content, timeout_s)
        try:
            data = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        return json.loads(data) if data[:1] in (b"{", b"[") else data.decode(errors="replace")

    @staticmethod
    def path(kind, namespace="default", name=None, sub=None, **query):
        path = f"/{GROUPS[kind]}"
        if kind not in CLUSTER_WIDE and namespace is not None:
            path += f"/namespaces/{quote(namespace)}"
        path += "/" + "/".join([kind, *(quote(part) for part in (name, sub) if part)])
        return path + ("?" + urlencode(query) if query else "")

    def get(self, kind, name, namespace="default"):
        """None where there is none."""
        try:
            return self.request("GET", self.path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind, namespace="default", **query):
        """namespace=None: of all namespaces."""
        return self.request("GET", self.path(kind, namespace, **query))["items"]

    def create(self, kind, document, namespace="default"):
        return self.request("POST", self.path(kind, namespace), document)

    def apply(self, kind, document, namespace="default", manager="test"):
        path = self.path(kind, namespace, document["metadata"]["name"], fieldManager=manager, force="true")
        return self.request("PATCH", path, document, APPLY)

    def patch(self, kind, name, change, namespace="default", sub=None, content=MERGE):
        return self.request("PATCH", self.path(kind, namespace, name, sub), change, content)

    def delete(self, kind, name, namespace="default", grace_s=None, uid=None):
        options = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        return self.request("DELETE", self.path(kind, namespace, name), options)

    def watch(self, kind, namespace="default", timeout_s=300, **query):
        """Yields (type, object) until the server ends the watch; an OSError when the connection fails."""
        path = self.path(kind, namespace, watch="1", allowWatchBookmarks="true", timeoutSeconds=timeout_s, **query)
        connection, answer = self.open("GET", path, timeout_s=timeout_s + 30)
        try:
            for line in lines(answer):
                event = json.loads(line)
                yield event["type"], event["object"]
        except (http.client.HTTPException, ValueError) as error:
            raise ConnectionError(f"watch of {kind}: {error!r}") from error
        finally:
            connection.close()


def condition(document, kind):
    """The status of one of an object's conditions: "True", "False", "Unknown" or None."""
    return next((c["status"] for c in document.get("status", {}).get("conditions", ()) if c["type"] == kind), None)
