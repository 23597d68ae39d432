# hermux, built from the checkout that this file lies in.
{
  lib,
  rustPlatform,
  installShellFiles,
}:
let
  manifest = (lib.importTOML ../../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];

  # They want real shells, curl and many ports; .ci/run passes them.
  doCheck = false;

  postInstall = ''
    installManPage man/*
    installShellCompletion --bash completions/hermux.bash --fish completions/hermux.fish --zsh completions/_hermux
  '';

  meta = {
    inherit (manifest) description;
    license = lib.licenses.mit;
    mainProgram = "hermux";
    platforms = lib.platforms.unix;
  };
}
