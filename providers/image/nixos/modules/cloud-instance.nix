# services.cloudInstance: what makes a NixOS a machine of cchost.
#
# Who it is may be said here, when it is built (instanceId, userSshKey, expiresAt), or later: then it stands in
# /etc/cloud-instance, where the host writes it when it reaches the machine first:
#   id                     hex digits; the hostname is cc-<id>
#   expires                RFC 3339; what the host knows is what counts, as time can be bought
#   authorized_keys.d/U    who may log in as U
#   volumes                lines "DEVICE PATH", mounted at each boot
# No secret is an option here: whatever is, can be read by everybody in the store. Secrets come over ssh, or once by
# nixos-anywhere's --extra-files.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.cloudInstance;
  facts = "/etc/cloud-instance";

  # ed25519, or RSA of 4096 bits and more: those have a blob of 716 characters at least. One line, no options before it.
  keyOk = key:
    let
      rsa = builtins.match "ssh-rsa (AAAAB3NzaC1yc2E[A-Za-z0-9+/]+=*)( [^\n]*)?" key;
    in
    builtins.match "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}( [^\n]*)?" key != null
    || (rsa != null && builtins.stringLength (builtins.head rsa) >= 716);

  text = value: { text = value + "\n"; mode = "0444"; };

  # The same text as on every other machine (../parts).
  program = name: pkgs.writeScriptBin name (builtins.readFile (../parts + "/${name}"));
in
{
  options.services.cloudInstance = {
    enable = lib.mkEnableOption "what makes this system a machine of cchost";

    instanceId = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[0-9a-z]([0-9a-z-]{0,58}[0-9a-z])?");
      default = null;
      example = "a1b2c3d4e5f6";
      description = "Which machine it is: its hostname is cc-<id>. Null: it is told later.";
    };
    userSshKey = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA... somebody";
      description = "The public key, ed25519 or RSA of at least 4096 bits, that logs in as claude. Null: it is told later.";
    };
    expiresAt = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "2026-01-22T10:00:00Z";
      description = "Until when it is paid, as it was known when this was built: for people to read. The host ends it.";
    };
    rootSshKeys = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Public keys that log in as root. Machines that cchost makes need none: they are told its key.";
    };
    dataVolume = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/dev/disk/by-id/scsi-0HC_Volume_12345678";
      description = "The volume that stands at /claude-data, by its id. Null: ${facts}/volumes says it.";
    };
    agent = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether cchost-agent, which the host brings, is kept running.";
    };
    tools = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = with pkgs; [ claude-code curl git less mosh nodejs procps tmux zellij ];
      defaultText = "claude-code curl git less mosh nodejs procps tmux zellij";
      description = "What users find on it.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.userSshKey == null || keyOk cfg.userSshKey;
        message = "services.cloudInstance.userSshKey: one public key, ed25519 or RSA of at least 4096 bits, on one line expected";
      }
    ];

    # ---- who it is
    networking.hostName = if cfg.instanceId != null then "cc-${cfg.instanceId}" else "";
    environment.etc =
      lib.optionalAttrs (cfg.instanceId != null) { "cloud-instance/id" = text cfg.instanceId; }
      // lib.optionalAttrs (cfg.expiresAt != null) { "cloud-instance/expires" = text cfg.expiresAt; };

    systemd.services.cloud-instance-facts = {
      description = "What the host has told this machine of itself";
      wantedBy = [ "multi-user.target" ];
      before = [ "cchost-agent.service" ];
      unitConfig.ConditionPathExists = "${facts}/id";
      serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
      path = [ pkgs.coreutils pkgs.nettools pkgs.util-linux ];
      script = ''
        hostname "cc-$(head -n 1 ${facts}/id)"
        [ -e ${facts}/volumes ] || exit 0
        while read -r device path; do
          mkdir -p "$path"
          mountpoint -q "$path" || mount -o discard "$device" "$path" || echo "cannot mount $device at $path" >&2
        done <${facts}/volumes
      '';
    };

    # ---- its user, and who gets in
    users.mutableUsers = false;
    users.users.root.openssh.authorizedKeys.keys = cfg.rootSshKeys;
    users.users.claude = {
      isNormalUser = true;
      uid = 1000;
      extraGroups = [ "wheel" ];
      openssh.authorizedKeys.keys = lib.optional (cfg.userSshKey != null) cfg.userSshKey;
    };
    security.sudo.wheelNeedsPassword = false;
    # Nobody has a password here, and nobody is locked out by that: root's key is told when the machine is reached first.
    users.allowNoPasswordLogin = true;

    services.openssh = {
      enable = true;
      settings = {
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        PermitRootLogin = "prohibit-password";
        AllowStreamLocalForwarding = "yes";
      };
      authorizedKeysFiles = [ "${facts}/authorized_keys.d/%u" ];
      hostKeys = [{ type = "ed25519"; path = "/etc/ssh/ssh_host_ed25519_key"; }];
      # The key of the first contact, where user data brought one; it is gone once the machine has shown its own.
      extraConfig = "HostKey /etc/ssh/ssh_host_ecdsa_key";
    };

    # cloud-init, for that key and for what was to be run once; all else is said above.
    services.cloud-init = {
      enable = true;
      settings = {
        datasource_list = [ "NoCloud" "Hetzner" "None" ];
        network.config = "disabled";
        disable_root = false;
        ssh_pwauth = false;
        preserve_hostname = true;
        users = [ "root" ];
        cloud_init_modules = [ "seed_random" "bootcmd" "write-files" "ssh" ];
        cloud_config_modules = [ "runcmd" ];
        cloud_final_modules = [ "write-files-deferred" "scripts-user" "final-message" ];
      };
    };

    # ---- its data
    fileSystems = lib.optionalAttrs (cfg.dataVolume != null) {
      "/claude-data" = {
        device = cfg.dataVolume;
        fsType = "ext4";
        options = [ "discard" "nofail" "x-systemd.device-timeout=30s" ];
      };
    };
    systemd.tmpfiles.rules = [
      "d /claude-data 0755 claude users -"
      "d ${facts}/authorized_keys.d 0755 root root -"
      # Only where there is none: it is the user's to change.
      "d /home/claude/.config :0755 :claude :users -"
      "d /home/claude/.config/zellij :0755 :claude :users -"
      "d /home/claude/.config/zellij/layouts :0755 :claude :users -"
      "C /home/claude/.config/zellij/layouts/claude.kdl :0644 :claude :users - ${../parts/layout.kdl}"
      "C /home/claude/.config/zellij/config.kdl :0644 :claude :users - ${../parts/config.kdl}"
    ];

    # ---- the agent: the host brings it with its first contact (/usr/local/lib/cchost), and what it is to know (/etc/cchost)
    systemd.units."cchost-agent.service" = lib.mkIf cfg.agent {
      text = builtins.readFile ../parts/cchost-agent.service;
      wantedBy = [ "multi-user.target" ]; # as its [Install] says elsewhere
    };

    # ---- what users find
    nixpkgs.config.allowUnfreePredicate = package: builtins.elem (lib.getName package) [ "claude-code" ];
    environment.systemPackages = cfg.tools ++ map program [ "claude-pane" "claude-session" ];
    environment.loginShellInit = ''
      [ ! -r /etc/cchost/env ] || . /etc/cchost/env
      PATH=$PATH:/usr/local/bin
    '';
  };
}
