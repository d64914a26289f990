# The host: a server at Hetzner Cloud. No key and no password is in it; what a machine of cchost is comes from the module.
{ lib, ... }:
{
  imports = [
    ./disko.nix
    ./hardware-configuration.nix
    ./networking.nix
  ];

  time.timeZone = lib.mkDefault "UTC";
  i18n.defaultLocale = lib.mkDefault "C.UTF-8";

  # A machine that lives for hours is not to fill its disk with what it was yesterday.
  nix.settings.experimental-features = [ "nix-command" "flakes" ];
  nix.gc = { automatic = lib.mkDefault true; options = lib.mkDefault "--delete-older-than 7d"; };
  services.journald.extraConfig = "SystemMaxUse=200M";
  documentation.enable = lib.mkDefault false;

  system.stateVersion = "26.05";
}
