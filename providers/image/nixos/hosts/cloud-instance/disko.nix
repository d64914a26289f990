# One disk: GPT, a partition for GRUB where the firmware is a BIOS (all of Hetzner's x86), an ESP for both kinds, ext4 for the
# rest, last, so that it can grow. It names the server's own disk and no other: the driver attaches volumes once this has run.
{ lib, pkgs, ... }:
{
  disko.devices.disk.main = {
    type = "disk";
    device = lib.mkDefault "/dev/sda";
    content = {
      type = "gpt";
      partitions = lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 {
        boot = { priority = 1; size = "1M"; type = "EF02"; };
      } // {
        esp = {
          priority = 2;
          size = "512M";
          type = "EF00";
          content = {
            type = "filesystem";
            format = "vfat";
            mountpoint = "/boot";
            mountOptions = [ "umask=0077" ];
          };
        };
        root = {
          priority = 3;
          size = "100%";
          content = {
            type = "filesystem";
            format = "ext4";
            mountpoint = "/";
            mountOptions = [ "discard" "noatime" ];
          };
        };
      };
    };
  };
}
