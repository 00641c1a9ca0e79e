"""A small client of the Kubernetes API: requests over kept connections, and watches."""

import datetime
import http.client
import json
import queue
import ssl
import sys
import time
import urllib.parse

MERGE_PATCH = "application/merge-patch+json"
TIMEOUT = 30  # seconds


class ApiError(Exception):
    """An answer of the API server that is no success."""

    def __init__(self, status, body):
        try:
            message = json.loads(body).get("message", "")
        except ValueError:
            message = body.decode(errors="replace")
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    def __init__(self, server, authority, token):
        self.address = urllib.parse.urlsplit(server)
        self.context = ssl.create_default_context(cafile=authority)
        self.token = token
        self.idle = queue.LifoQueue()

    def _connect(self, timeout):
        return http.client.HTTPSConnection(
            self.address.hostname, self.address.port, context=self.context, timeout=timeout
        )

    def _headers(self, content=None):
        headers = {"Authorization": "Bearer " + self.token, "Accept": "application/json"}
        return {**headers, "Content-Type": content} if content else headers

    def request(self, method, path, body=None, content="application/json"):
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers(content if data else None)
        try:
            connection, fresh = self.idle.get_nowait(), False
        except queue.Empty:
            connection, fresh = self._connect(TIMEOUT), True
        while True:
            try:
                connection.request(method, path, data, headers)
                response = connection.getresponse()
                answer = response.read()
                break
            except (http.client.HTTPException, OSError):
                connection.close()
                if fresh:
                    raise
                # The server closed a kept connection; every request here may be made twice.
                connection, fresh = self._connect(TIMEOUT), True
        self.idle.put(connection)
        if response.status >= 300:
            raise ApiError(response.status, answer)
        return json.loads(answer)

    def get(self, path):
        """The object, or None if there is none."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, path, body):
        """Creates the object, or leaves the one of this name that is there."""
        try:
            return self.request("POST", path, body)
        except ApiError as error:
            if error.status != 409:
                raise
            return self.get(f"{path}/{body['metadata']['name']}")

    def patch(self, path, body):
        """Merges into the object; None if it is gone."""
        try:
            return self.request("PATCH", path, body, MERGE_PATCH)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def delete(self, path):
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def watch(self, path, version):
        """Yields (type, object) until the server ends the watch."""
        # A little longer than the server's own end of it.
        connection = self._connect(timeout=330)
        query = f"?watch=1&timeoutSeconds=300&allowWatchBookmarks=true&resourceVersion={version}"
        try:
            connection.request("GET", path + query, headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise ApiError(response.status, response.read())
            while line := response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), json.dumps(event["object"]).encode())
                yield event["type"], event["object"]
        finally:
            connection.close()

    def warn(self, target, reason, message):
        """Records a warning about an object, as provisioners do. Failing at it harms nobody."""
        metadata = target["metadata"]
        namespace = metadata.get("namespace", "default")
        now = rfc3339(time.time())
        event = {
            "metadata": {"generateName": metadata["name"] + ".", "namespace": namespace},
            "type": "Warning", "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "btrfs.standstill.test"},
            "involvedObject": {
                "apiVersion": target.get("apiVersion", "v1"), "kind": target["kind"], "name": metadata["name"],
                "namespace": metadata.get("namespace"), "uid": metadata["uid"],
            },
        }
        try:
            self.request("POST", f"/api/v1/namespaces/{namespace}/events", event)
        except (ApiError, OSError) as error:
            log(f"cannot record an event: {error}")


def rfc3339(seconds):
    """To the second, as the API's own times are."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def log(message):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%H:%M:%S.%f")[:-3]
    print(now, message, file=sys.stderr, flush=True)
