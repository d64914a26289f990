# mkCloudInstance { instanceId, userSshKey, expiresAt, ... } -> a NixOS system, its hostname cc-<instanceId>.
#
# All of them may be left out: then it is a machine that is told later (modules/cloud-instance.nix, /etc/cloud-instance).
#   system    x86_64-linux, or aarch64-linux for Hetzner's CAX
#   modules   more of yours
{ nixpkgs, disko }:
{
  mkCloudInstance =
    { instanceId ? null
    , userSshKey ? null
    , expiresAt ? null
    , system ? "x86_64-linux"
    , modules ? [ ]
    }:
    nixpkgs.lib.nixosSystem {
      inherit system;
      modules = [
        disko.nixosModules.disko
        ./modules/cloud-instance.nix
        ./hosts/cloud-instance
        {
          services.cloudInstance = {
            enable = true;
            inherit instanceId userSshKey expiresAt;
          };
        }
      ] ++ modules;
    };
}
