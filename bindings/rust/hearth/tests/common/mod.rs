//! What the tests share: the bundled model, a small engine.
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
