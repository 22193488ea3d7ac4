//! Which binary is tested: `SPINE_BIN`, or the one of this very build and profile.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What `make test` builds with: crash tests need the fault points.
const FEATURES: &str = "spine-tests/mutants,spine-cli/fault-points";

/// The binary, built first if need be.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("SPINE_BIN") {
        Some(given) => given.into(),
        None => built(),
    })
}

/// Cargo does not build the binaries of other crates for a test, and a stale one would lie: so it is
/// asked here. The same packages, kinds of targets and features as in `make test` make the same units
/// of the crates below, so that after it only the binary itself is left to build.
fn built() -> PathBuf {
    let this = std::env::current_exe().expect("the test's own path");
    let profile = this.parent().and_then(Path::parent).expect("target/<profile>/deps/it");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile's name");
    let name = if name == "debug" { "dev" } else { name };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--quiet", "--locked", "--profile", name, "--workspace", "--bin", "spine"])
        .args(["--test", "it", "--test", "live", "--features", FEATURES, "--target-dir"])
        .arg(profile.parent().expect("the target directory"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the binary could not be built");
    profile.join("spine")
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}
