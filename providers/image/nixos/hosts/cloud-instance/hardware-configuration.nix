# A guest of QEMU/KVM with virtio disks and network, as Hetzner's are: BIOS on x86, UEFI on ARM.
{ lib, modulesPath, pkgs, ... }:
let
  bios = pkgs.stdenv.hostPlatform.isx86_64;
in
{
  imports = [ (modulesPath + "/profiles/qemu-guest.nix") ];

  boot.initrd.availableKernelModules = [ "ahci" "sd_mod" "sr_mod" "virtio_pci" "virtio_scsi" "xhci_pci" ];
  boot.kernelParams = [ "console=tty0" ];

  # On x86 disko names the disk for GRUB, as it has a partition for it; the ESP serves both.
  boot.loader.grub = {
    enable = true;
    efiSupport = true;
    efiInstallAsRemovable = true;
  } // lib.optionalAttrs (!bios) { device = "nodev"; };
  boot.loader.timeout = lib.mkDefault 1;

  # A snapshot is as large as the smallest type's disk; on a larger one it grows.
  boot.growPartition = true;
  fileSystems."/".autoResize = true;
  swapDevices = [ ];
  zramSwap.enable = lib.mkDefault true;
}
