# Addresses by DHCP: Hetzner assigns them, and nothing about them is known when the image is built. The second interface of a
# server in a private network is asked in the same way, and never gives the way out.
{ lib, ... }:
{
  networking = {
    useDHCP = false;
    useNetworkd = true;
    usePredictableInterfaceNames = lib.mkDefault true;
    # ssh, and nothing else: mosh's ports are opened by who wants them.
    firewall = { enable = true; allowedTCPPorts = [ 22 ]; };
  };

  systemd.network = {
    enable = lib.mkForce true;
    wait-online.anyInterface = true;
    networks."10-public" = {
      matchConfig.Name = "enp1s0 ens3 eth0";
      networkConfig = { DHCP = "yes"; IPv6AcceptRA = true; };
      linkConfig.RequiredForOnline = "routable";
    };
    networks."20-private" = {
      matchConfig.Name = "enp[789]s0 enp1[0-2]s0 ens1[0-2]";
      networkConfig.DHCP = "ipv4";
      dhcpV4Config = { UseGateway = false; UseDNS = false; };
      linkConfig.RequiredForOnline = "no";
    };
  };
}
