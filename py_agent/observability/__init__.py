"""DataKitchen Observability: what it takes, how it is told, and who is watched."""

from .client import UNAUTHORIZED, Verdict, event_path, is_there, post, verdict
from .credentials import sign_in
from .link import Link
from .models import EVENT_TYPES, ContractError, split, validate
from .reporting import Report, safe_key
from .settings import CoreSettings, HttpSettings, ObservabilitySettings

__all__ = [
    "EVENT_TYPES",
    "UNAUTHORIZED",
    "ContractError",
    "CoreSettings",
    "HttpSettings",
    "Link",
    "ObservabilitySettings",
    "Report",
    "Verdict",
    "event_path",
    "is_there",
    "post",
    "safe_key",
    "sign_in",
    "split",
    "validate",
    "verdict",
]
