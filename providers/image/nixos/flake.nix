# Machines of cchost that are NixOS.
#
#   nixosModules.cloud-instance          what makes a NixOS a machine of cchost (modules/cloud-instance.nix)
#   nixosModules.default                 the same
#   nixosConfigurations.cloud-instance   a machine that learns who it is when it is reached first: nothing in it is any one
#                                        machine's, so it is built once, and one snapshot of it serves all
#   lib.mkCloudInstance                  a machine that is told so when it is built (lib.nix)
#
# The inputs are pinned by flake.lock: what was tried is what is installed. `nix flake update` moves them, and gives the image
# another hash.
{
  description = "NixOS for machines of cchost";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    disko.url = "github:nix-community/disko";
    disko.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { self, nixpkgs, disko, ... }:
    let
      cloud = import ./lib.nix { inherit nixpkgs disko; };
    in
    {
      lib = { inherit (cloud) mkCloudInstance; };
      nixosModules.cloud-instance = ./modules/cloud-instance.nix;
      nixosModules.default = self.nixosModules.cloud-instance;
      nixosConfigurations.cloud-instance = cloud.mkCloudInstance { };
      nixosConfigurations.cloud-instance-arm = cloud.mkCloudInstance { system = "aarch64-linux"; };
    };
}
