"""What the errors of botocore mean, and the answers of S3 servers that are errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fanlight.errors import (
    FanlightError,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)

_FULL = frozenset({"QuotaExceeded", "EntityTooLarge", "InsufficientCapacity", "XMinioStorageFull"})
_DENIED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "404"})
TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


@contextmanager
def explained(*, writing: bool = False) -> Iterator[None]:
    """Errors of botocore leave as a StoreError, and without the original: its text may quote the request."""
    from botocore import exceptions
    from urllib3.exceptions import HTTPError

    failure: FanlightError
    try:
        yield
        return
    except exceptions.ClientError as error:
        failure = refusal(error.response, error.operation_name, writing)
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError):
        failure = StoreTimeout("The S3 server did not answer in time.")
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.ResponseStreamingError,
        exceptions.IncompleteReadError,
        HTTPError,
    ):
        failure = StoreUnreachable("The S3 server cannot be reached.")
    except (exceptions.BotoCoreError, ValueError, OSError) as error:
        failure = StoreError(f"The request to the S3 server could not be made: {type(error).__name__}.")
    raise failure from None


def refusal(answer: Mapping[str, Any], operation: str, writing: bool) -> FanlightError:
    """What an error that the server answered means."""
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _FULL or status in (413, 507):
        return StoreFull()
    if code in _ABSENT or status == 404:
        return ObjectNotFound()
    if code in TAKEN or status == 412:
        return ObjectExists()
    if code == "InvalidRange" or status == 416:
        return RangeNotSatisfiable(size=0)
    # HEAD has no body: a wrong key is a bare 400 on some servers.
    if code in _DENIED or status in (401, 403) or (operation.startswith("Head") and status == 400):
        return StoreDenied() if writing else StoreForbidden()
    if status >= 500:
        return StoreUnreachable(f"The S3 server failed: {status}.")
    return StoreError(f"The S3 server refused {operation}: {status} {code}.")
