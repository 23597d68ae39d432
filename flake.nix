{
  description = "A multiplexing streaming proxy for OpenRouter, and the toolkit around it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      each = nixpkgs.lib.genAttrs systems;
    in
    {
      packages = each (system: rec {
        hermux = nixpkgs.legacyPackages.${system}.callPackage ./packaging/nix/package.nix { };
        default = hermux;
      });

      nixosModules = rec {
        hermux =
          { lib, pkgs, ... }:
          {
            imports = [ ./packaging/nix/module.nix ];
            services.hermux.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.hermux;
          };
        default = hermux;
      };
    };
}
