//! Finds libhearth: in the folder that HEARTH_LIB_DIR names, else where pkg-config says, else where the linker looks anyway.
use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=HEARTH_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rustc-link-lib=dylib=hearth");
    if let Ok(folder) = env::var("HEARTH_LIB_DIR") {
        println!("cargo:rustc-link-search=native={folder}");
        return;
    }
    let asked = Command::new("pkg-config").args(["--libs-only-L", "hearth"]).output();
    for flag in asked.iter().flat_map(|answer| {
        String::from_utf8_lossy(&answer.stdout).into_owned().split_whitespace().map(String::from).collect::<Vec<_>>()
    }) {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        }
    }
}
