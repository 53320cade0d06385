"""Amazon's signature of requests, version 4 (AWS General Reference, "Create a signed AWS API request")."""

import hashlib
import hmac
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit

SERVICE = "bedrock"
ALGORITHM = "AWS4-HMAC-SHA256"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Credentials(NamedTuple):
    """Whose signature it is; made for one request, so that no secret stays about."""

    access_key_id: str
    secret: str
    region: str
    session_token: str | None = None


def sign_request(url: str, body: bytes, credentials: Credentials, now: datetime) -> dict[str, str]:
    """The headers that sign a POST of JSON.

    Args:
        url: exactly as it is sent, without a query.
        now: in UTC.
    """
    parts = urlsplit(url)
    date = now.strftime("%Y%m%dT%H%M%SZ")
    host = parts.netloc.lower().removesuffix(DEFAULT_PORTS[parts.scheme])
    signed = {"content-type": "application/json", "host": host, "x-amz-date": date}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(signed)
    # The path is quoted once more than it is sent: Amazon asks for that of every service but S3.
    path = "/".join(quote(segment, safe="-_.~") for segment in parts.path.split("/"))
    headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = "\n".join(("POST", path, "", headers, names, hashlib.sha256(body).hexdigest()))
    scope = f"{date[:8]}/{credentials.region}/{SERVICE}/aws4_request"
    text = "\n".join((ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = _sign(credentials.secret, scope, text).hex()
    authorization = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return {
        **{name: value for name, value in signed.items() if name.startswith("x-amz-")},
        "Authorization": authorization,
    }


def _sign(secret: str, scope: str, text: str) -> bytes:
    """The signature of `text` with the key that the secret gives for `scope`."""
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
