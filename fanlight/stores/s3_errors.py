"""What the errors of botocore mean, and the answers of S3 servers that are errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fanlight.errors import FanlightError, StoreError, StoreTimeout, StoreUnreachable
from fanlight.stores.statuses import meaning

TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_STATUSES = {
    **dict.fromkeys(("QuotaExceeded", "EntityTooLarge", "InsufficientCapacity", "XMinioStorageFull"), 507),
    **dict.fromkeys(("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"), 403),
    **dict.fromkeys(("NoSuchKey", "NoSuchBucket", "NoSuchUpload", "404"), 404),
    **dict.fromkeys(TAKEN, 412),
    "InvalidRange": 416,
}
"""The status that a code means; servers do not agree on the one that comes with it."""


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
    except exceptions.FlexibleChecksumError:
        failure = StoreError("The S3 server sent other bytes than its checksum is of.")
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


def is_unknown(answer: Mapping[str, Any]) -> bool:
    """Whether the server does not know a header that was sent."""
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return bool(status == 501 or answer.get("Error", {}).get("Code") == "NotImplemented")


def is_taken(answer: Mapping[str, Any]) -> bool:
    """Whether an object of that name is there, or is just being written."""
    return answer.get("Error", {}).get("Code") in TAKEN


def refusal(answer: Mapping[str, Any], operation: str, writing: bool) -> FanlightError:
    """What an error that the server answered means."""
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # HEAD has no body: a wrong key is a bare 400 on some servers.
    known = 403 if operation.startswith("Head") and status == 400 else _STATUSES.get(code, status)
    error = meaning(known, "the S3 server", writing=writing)
    return StoreError(f"The S3 server refused {operation}: {status} {code}.") if type(error) is StoreError else error
