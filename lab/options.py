"""The options of a run of the lab."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """Options. Times are seconds; the defaults are compressed.

    Attributes:
        registration_delay: From RegisterTargets to the first health check. AWS: 90 to 180.
        health_check_interval: Between two health checks. Our target group on AWS: 5.
        load_balancer_delay: From the creation of a load balancer until it is active. AWS: minutes.
        rule_delay: From a change of a security group's rules to its effect. AWS: a small delay.
        schedule_interval: Replaces the schedule's minute.
        dns_lag: From the promotion of the standby until the endpoint's name moves. AWS:
            seconds; its documentation allows minutes.
        report: The path of the HTML report.
        figure: The path of an SVG file with the outages, or None.
        built: A project in which ``sam build`` has run; None: the lab builds its own.
    """

    registration_delay: float = 1.0
    health_check_interval: float = 0.5
    load_balancer_delay: float = 0.0
    rule_delay: float = 1.0
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
    def wait_seconds(self) -> float:
        """The longest wait for a condition, about ten times what an idle machine needs."""
        moves = (
            3 * (self.registration_delay + self.rule_delay + self.dns_lag)
            + 6 * self.health_check_interval
        )
        return 240.0 + 2 * moves + 2 * self.schedule_interval
