# What module.nix makes of some settings, with NixOS's module system but without NixOS; packaging/try prints it.
{ lib }:
let
  lib' = import "${lib}/lib";
  inherit (lib') mkOption types;
  # The few options of NixOS that the module sets.
  around = {
    options = {
      assertions = mkOption { type = types.listOf types.raw; };
      environment.systemPackages = mkOption { type = types.listOf types.raw; };
      users.users = mkOption { type = types.attrsOf types.raw; };
      users.groups = mkOption { type = types.attrsOf types.raw; };
      systemd.services = mkOption { type = types.attrsOf (types.attrsOf types.anything); };
    };
    config._module.args.pkgs = {
      formats.toml = _: { generate = name: value: "/nix/store/${name}:${builtins.toJSON value}"; };
    };
  };
  package = {
    type = "derivation";
    name = "hermux";
    outPath = "/nix/store/hermux";
    meta.mainProgram = "hermux";
  };
  made =
    settings:
    let
      inherit
        (lib'.evalModules {
          modules = [
            around
            ./module.nix
            {
              services.hermux = {
                enable = true;
                inherit package;
                tokens = "/run/agenix/tokens.csv";
              }
              // settings;
            }
          ];
        })
        config
        ;
      service = config.systemd.services.hermux.serviceConfig;
    in
    {
      inherit (service) ExecStart LoadCredential User;
      refused = map (one: one.message) (lib'.filter (one: !one.assertion) config.assertions);
    };
in
{
  alone = made { };
  open = made {
    listen.address = "0.0.0.0";
    listen.port = 8080;
    auth.enable = true;
    auth.allow = "/run/agenix/allow.txt";
    settings.max_wait = "2m";
  };
  unguarded = made { listen.address = "0.0.0.0"; };
  nobody = made { auth.enable = true; };
}
