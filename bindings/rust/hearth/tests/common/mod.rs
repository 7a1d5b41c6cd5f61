//! What the tests share: the bundled model, a small engine.
#![allow(dead_code)] // each file of tests uses its part
use hearth::{Engine, EngineOptions, InferenceParams, Limits, MemoryConfig, Model};
use std::path::PathBuf;

pub fn source(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).join(path)
}

pub fn home() -> PathBuf {
    source("models/hearth-home.Q4_K_M.gguf")
}

pub fn engine() -> Engine {
    Engine::open(EngineOptions {
        memory: MemoryConfig { max_ram_usage: 200 << 20, ..Default::default() },
        threads: 2,
        ..Default::default()
    })
    .expect("an engine")
}

pub fn limits() -> Limits {
    Limits { context: 256, batch: 64, ..Default::default() }
}

pub fn model() -> Model {
    Model::open(&engine(), home(), &limits()).expect("the bundled model")
}

pub fn greedy(max_tokens: u32) -> InferenceParams {
    InferenceParams { temperature: 0.0, max_tokens, ..Default::default() }
}

pub const LIGHT: &str = "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n";

/// A folder that goes with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hearth-rust-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
