"""A plain client, and small resources and Bundles."""

from __future__ import annotations

import json
from typing import Any

import requests

JSON = {"Content-Type": "application/fhir+json"}


def patient(name: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "gender": "female", **elements}


def observation(name: str, subject: str, **elements: Any) -> dict[str, Any]:
    code = {"text": "Glucose"}
    reference = {"reference": subject}
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": code,
        "subject": reference,
        **elements,
    }


def entry(
    body: dict[str, Any] | None, method: str = "PUT", url: str = "", full: str = "", **more: str
) -> dict[str, Any]:
    """An entry of a Bundle; without `url` it is about the resource's own address."""
    own = f"{body['resourceType']}/{body['id']}" if body and "id" in body else ""
    made = {"request": {"method": method, "url": url or own, **more}}
    return made | ({"resource": body} if body else {}) | ({"fullUrl": full} if full else {})


class Talk:
    """Requests to one server, relative to its base."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if "://" in path else f"{self.url}/{path}".rstrip("/")
        return self.session.request(method, url, data=data, headers={**JSON, **names}, allow_redirects=False, timeout=9)

    def put(self, body: dict[str, Any], **headers: str) -> requests.Response:
        return self("PUT", f"{body['resourceType']}/{body['id']}", body, **headers)

    def bundle(self, kind: str, *entries: dict[str, Any], **headers: str) -> requests.Response:
        return self("POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries}, **headers)

    def search(self, path: str) -> list[str]:
        """The ids found, all pages."""
        found: list[str] = []
        while path:
            page = self("GET", path).json()
            found += [item["resource"]["id"] for item in page.get("entry", [])]
            path = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
        return found


def statuses(answer: requests.Response) -> list[str]:
    """The status numbers of the entries of an answered Bundle."""
    return [item["response"]["status"][:3] for item in answer.json()["entry"]]
