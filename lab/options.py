"""What a run of the lab can be told."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """Times are seconds. The defaults are compressed; AWS's own values stand beside them.

    Attributes:
        registration_delay: From RegisterTargets to the first health check. AWS: 90 to 180.
        health_check_interval: Between two health checks. Our target group on AWS: 5.
        schedule_interval: What stands for the schedule's one minute.
        dns_lag: From the promotion of the standby until the endpoint's name moves. AWS:
            seconds; its documentation allows minutes.
        report: Where the HTML report goes.
        figure: Where the outages are drawn once more, as an SVG file; None: nowhere.
        built: A project in which ``sam build`` has run; None: the lab builds its own.
    """

    registration_delay: float = 1.0
    health_check_interval: float = 0.5
    schedule_interval: float = 5.0
    dns_lag: float = 1.0
    report: Path = Path("lab-report.html")
    figure: Path | None = None
    built: Path | None = None

    @property
    def shown(self) -> Mapping[str, str]:
        """The options by name, as the report shows them."""
        return {name: str(value) for name, value in asdict(self).items() if value is not None}

    @property
    def settling_seconds(self) -> float:
        """How long a failover may take until the road is right, with room to spare."""
        moves = 3 * (self.registration_delay + self.dns_lag) + 6 * self.health_check_interval
        return 60.0 + moves + 2 * self.schedule_interval
