"""Where a load balancer's targets may be at all."""

from ipaddress import IPv4Network

from target_sync.core.model import IPNetwork

#: The private networks that a Network Load Balancer takes targets from (NLB user guide,
#: "Register targets").
TARGET_NETWORKS: tuple[IPNetwork, ...] = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
