# services.hermux: the proxy as a hardened service of its own user.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hermux;
  inherit (lib) mkOption types;
  loopback = lib.hasPrefix "127." cfg.listen.address || cfg.listen.address == "::1";
in
{
  options.services.hermux = {
    enable = lib.mkEnableOption "hermux, a multiplexing streaming proxy for OpenRouter";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package that holds hermux.";
    };

    listen = {
      address = mkOption {
        type = types.str;
        default = "127.0.0.1";
        example = "0.0.0.0";
        description = "The IP address to listen on. Beyond loopback, put TLS in front.";
      };
      port = mkOption {
        type = types.port;
        default = 3333;
        description = "The port to listen on; above 1023, since the service has no privileges.";
      };
    };

    tokens = mkOption {
      # Text and not a path: a path would be copied into the store, which everybody can read.
      type = types.str;
      example = "/run/agenix/hermux-tokens.csv";
      description = ''
        Where tokens.csv with the OpenRouter keys is. root alone need be able to read it: systemd hands the service a
        copy when it starts, so that changes take a restart.
      '';
    };

    auth = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = "Whether callers need an access token. Must be true beyond loopback.";
      };
      allow = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/agenix/hermux-allow.txt";
        description = "Where allow.txt with the access tokens is; read like `tokens`.";
      };
    };

    settings = mkOption {
      type = types.attrsOf (
        types.oneOf [
          types.str
          types.int
          types.bool
        ]
      );
      default = { };
      example = {
        max_wait = "2m";
      };
      description = "Further keys of config.toml, see `hermux serve --help`. No secrets: it lies in the store.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.auth.enable || loopback;
        message = "services.hermux: without auth.enable, listen.address must be a loopback address";
      }
      {
        assertion = cfg.auth.enable -> cfg.auth.allow != null;
        message = "services.hermux: auth.enable needs auth.allow";
      }
    ];

    environment.systemPackages = [ cfg.package ];

    users.users.hermux = {
      isSystemUser = true;
      group = "hermux";
    };
    users.groups.hermux = { };

    systemd.services.hermux = {
      description = "Multiplexing streaming proxy for OpenRouter";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];

      serviceConfig = {
        Type = "notify";
        ExecStart = lib.concatStringsSep " " (
          [
            "${lib.getExe cfg.package} serve"
            "--config ${(pkgs.formats.toml { }).generate "hermux.toml" cfg.settings}"
            "--address ${cfg.listen.address} --port ${toString cfg.listen.port}"
            "--tokens \${CREDENTIALS_DIRECTORY}/tokens.csv --data-dir /var/lib/hermux"
          ]
          ++ [ (if cfg.auth.enable then "--allow \${CREDENTIALS_DIRECTORY}/allow.txt" else "--no-auth") ]
        );
        LoadCredential = [
          "tokens.csv:${cfg.tokens}"
        ]
        ++ lib.optional (cfg.auth.enable && cfg.auth.allow != null) "allow.txt:${cfg.auth.allow}";
        Restart = "on-failure";
        RestartSec = "1s";
        RestartPreventExitStatus = 2;
        TimeoutStopSec = "60s";
        LimitNOFILE = 524288;

        User = "hermux";
        Group = "hermux";
        UMask = "0077";
        StateDirectory = "hermux";
        StateDirectoryMode = "0700";

        NoNewPrivileges = true;
        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateUsers = true;
        PrivateIPC = true;
        DevicePolicy = "closed";
        ProtectProc = "invisible";
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectControlGroups = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        RemoveIPC = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}
