"""Start the lab's AWS: `python -m lab.emulator --help`."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.addresses import AddressPlan, ReplacedFile


def main() -> None:
    """Parse the options, prepare the environment variables, serve, and clean up."""
    options = _parse()
    own_dir = Path(tempfile.mkdtemp(prefix="emulator-", dir=options.work_dir))
    try:
        _isolate(own_dir, port=options.port)
        _serve(options, own_dir)
    finally:
        shutil.rmtree(own_dir)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.emulator", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--address-plan", type=Path, required=True, help="JSON file")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of its files")
    parser.add_argument(
        "--registration-delay",
        type=float,
        default=90.0,
        help="seconds from registration to the first health check (default: %(default)s)",
    )
    parser.add_argument(
        "--health-check-interval",
        type=float,
        help="seconds between health checks (default: each target group's own)",
    )
    parser.add_argument(
        "--schedule-interval",
        type=float,
        help="seconds of a minute in a schedule's rate (default: 60)",
    )
    parser.add_argument(
        "--rule-delay",
        type=float,
        default=1.0,
        help="seconds until a changed outbound rule takes effect (default: %(default)s)",
    )
    parser.add_argument(
        "--load-balancer-delay",
        type=float,
        default=0.0,
        help="seconds until a new load balancer is active (default: %(default)s; AWS: minutes)",
    )
    parser.add_argument("--rds-failover-hook", help="URL that performs a failover")
    parser.add_argument("--resolver", help="DNS server of the functions, address:port")
    parser.add_argument(
        "--outbound-rule-quota",
        type=int,
        default=60,
        help="outbound rules of a security group (default: %(default)s, as on AWS)",
    )
    return parser.parse_args()


def _isolate(own_dir: Path, *, port: int) -> None:
    """Prepare the environment variables of ministack and of the functions' processes.

    They contain none of the caller's AWS, Docker and proxy settings, and no path outside the
    directory.
    """
    for name in list(os.environ):
        foreign = name.startswith(("AWS_", "MINISTACK_", "LAMBDA_", "LOCALSTACK_"))
        if foreign or name.lower().endswith("_proxy"):
            del os.environ[name]
    others = ("SERVICES", "EDGE_PORT", "USE_SSL", "PERSIST_STATE", "S3_PERSIST")
    for name in (*others, "PYTHONPYCACHEPREFIX"):  # functions use the bytecode of their artifact
        os.environ.pop(name, None)
    os.environ.update(_settings(own_dir, port=port))
    for name in ("TMPDIR", "S3_DATA_DIR", "STATE_DIR"):
        Path(os.environ[name]).mkdir()
    # tempfile has read TMPDIR before.
    tempfile.tempdir = os.environ["TMPDIR"]


def _settings(own_dir: Path, *, port: int) -> Mapping[str, str]:
    return {
        "AUTH": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "BIND_HOST": "127.0.0.1",
        "DOCKER_HOST": f"unix://{own_dir / 'no-docker.sock'}",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        "MINISTACK_HOST": "127.0.0.1",
        "S3_DATA_DIR": str(own_dir / "s3"),
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(own_dir / "state"),
        "TMPDIR": str(own_dir / "tmp"),
    }


def _serve(options: argparse.Namespace, own_dir: Path) -> None:
    from lab.emulator import server  # noqa: PLC0415 (it reads the environment at import)
    from lab.emulator.target_groups import TargetTimes  # noqa: PLC0415 (as above)

    server.run(
        server.Options(
            port=options.port,
            plan=ReplacedFile(options.address_plan, AddressPlan.load),
            work_dir=own_dir,
            times=TargetTimes(
                registration_delay=options.registration_delay,
                interval=options.health_check_interval,
                rule_delay=options.rule_delay,
                load_balancer_delay=options.load_balancer_delay,
            ),
            schedule_interval=options.schedule_interval,
            failover_hook=options.rds_failover_hook,
            resolver=options.resolver,
            outbound_rule_quota=options.outbound_rule_quota,
        )
    )


if __name__ == "__main__":
    main()
