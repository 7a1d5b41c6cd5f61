//! Raw declarations of `hearth.h`, the interface of libhearth, in its order; the header documents each of them. Use the crate
//! `hearth` unless you need what it does not have.
//!
//! A test compares every constant, structure, callback and function here with the header as a C compiler has it: values, sizes,
//! offsets and kinds, and that nothing is missing (`tests/tools/rust.sh`).
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_void};

#[macro_use]
mod declare;
#[cfg(test)]
mod layout;
#[cfg(test)]
use layout::{prototype, Kind};

pub type hearth_status = i32;

constants! {
    i32 {
        HEARTH_ABI = 1;
        HEARTH_ARITHMETIC = 1;
        HEARTH_FLOAT_GEMM_OWN = 0;
        HEARTH_FLOAT_GEMM_BLAS = 1;
        HEARTH_PAGES_AUTO = 0;
        HEARTH_PAGES_4K = 1;
        HEARTH_PAGES_2M = 2;
        HEARTH_PAGES_1G = 3;
        HEARTH_VERIFY_FULL = 0;
        HEARTH_VERIFY_LAZY = 1;
        HEARTH_VERIFY_OFF = 2;
        HEARTH_KV_F16 = 0;
        HEARTH_KV_F32 = 1;
        HEARTH_KV_Q8_0 = 2;
        HEARTH_SAMPLER_TOP_N_SIGMA = 1;
        HEARTH_SAMPLER_TOP_K = 2;
        HEARTH_SAMPLER_TYPICAL = 3;
        HEARTH_SAMPLER_TOP_P = 4;
        HEARTH_SAMPLER_MIN_P = 5;
        HEARTH_SAMPLER_XTC = 6;
        HEARTH_SAMPLER_TEMPERATURE = 7;
        HEARTH_STOP_END = 0;
        HEARTH_STOP_STRING = 1;
        HEARTH_STOP_LENGTH = 2;
        HEARTH_STOP_CONTEXT = 3;
        HEARTH_STOP_CALLBACK = 4;
        HEARTH_STOP_CANCELLED = 5;
        HEARTH_ROLE_SYSTEM = 0;
        HEARTH_ROLE_USER = 1;
        HEARTH_ROLE_ASSISTANT = 2;
        HEARTH_ROLE_TOOL = 3;
        HEARTH_CHAT_REFUSE = 0;
        HEARTH_CHAT_DROP_OLDEST = 1;
        HEARTH_MODEL_REGISTERED = 0;
        HEARTH_MODEL_RESIDENT = 1;
        HEARTH_MODEL_CURRENT = 2;
        HEARTH_CONVERSATION_NEW = 0;
        HEARTH_CONVERSATION_RESTORED = 1;
        HEARTH_CONVERSATION_LOST = 2;
    }
    hearth_status {
        HEARTH_OK = 0;
        HEARTH_E_NOT_FOUND = 1;
        HEARTH_E_MEMORY = 2;
        HEARTH_E_CONFIG = 3;
        HEARTH_E_INFERENCE = 4;
        HEARTH_E_FORMAT = 5;
        HEARTH_E_UNSUPPORTED = 6;
        HEARTH_E_IO = 7;
        HEARTH_E_STATE = 8;
        HEARTH_E_CONTEXT_FULL = 9;
        HEARTH_E_CANCELLED = 10;
        HEARTH_E_BUSY = 11;
        HEARTH_E_FORKED = 12;
    }
    u32 {
        HEARTH_TOKENIZE_BOS = 1;
        HEARTH_TOKENIZE_SPECIAL = 2;
    }
    usize {
        HEARTH_LOGIT_BIAS_MAX = 256;
        HEARTH_DRY_BREAKERS_MAX = 16;
        HEARTH_SAMPLER_STEPS = 7;
        HEARTH_TOP_LOGPROBS_MAX = 20;
        HEARTH_CHAT_KEY_MAX = 255;
        HEARTH_CHAT_METADATA_BYTES = 8192;
    }
}

handles! {
    hearth_engine
    hearth_plan
    hearth_model
    hearth_session
    hearth_chat
    hearth_manager
}

structures! {
    pub struct hearth_error {
        pub code: hearth_status,
        pub detail: [c_char; 20],
        pub needed: u64,
        pub available: u64,
        pub message: [c_char; 400],
    }
    pub struct hearth_allocator {
        pub struct_size: u32,
        pub allocate: Option<unsafe extern "C" fn(usize, usize, *mut c_void) -> *mut c_void>,
        pub release: Option<unsafe extern "C" fn(*mut c_void, usize, *mut c_void)>,
        pub user: *mut c_void,
    }
    pub struct hearth_engine_options {
        pub struct_size: u32,
        pub threads: u32,
        pub ram_cap: u64,
        pub log: Option<hearth_log_fn>,
        pub log_user: *mut c_void,
        pub float_gemm: i32,
        pub pack_cache: *const c_char,
        pub progress: Option<hearth_progress_fn>,
        pub progress_user: *mut c_void,
        pub abort: Option<hearth_abort_fn>,
        pub abort_user: *mut c_void,
        pub pages: i32,
        pub prefetch_window: u64,
        pub allocator: *const hearth_allocator,
        pub cache_budget: u64,
        pub verify: i32,
    }
    pub struct hearth_limits {
        pub struct_size: u32,
        pub context: u32,
        pub batch: u32,
        pub kv_type: i32,
        pub logits_rows: u32,
        pub grammar: u32,
        pub sliding_window: u32,
        pub chat: u32,
    }
    pub struct hearth_model_options {
        pub struct_size: u32,
        pub progress: Option<hearth_progress_fn>,
        pub progress_user: *mut c_void,
    }
    pub struct hearth_logit_bias {
        pub token: i32,
        pub bias: f32,
    }
    pub struct hearth_sampling {
        pub struct_size: u32,
        pub top_k: i32,
        pub temperature: f32,
        pub top_p: f32,
        pub min_p: f32,
        pub repeat_penalty: f32,
        pub repeat_last_n: i32,
        pub seed: u64,
        pub frequency_penalty: f32,
        pub presence_penalty: f32,
        pub dry_multiplier: f32,
        pub dry_base: f32,
        pub dry_allowed_length: i32,
        pub dry_last_n: i32,
        pub dry_breakers: *const *const c_char,
        pub n_dry_breakers: u32,
        pub typical_p: f32,
        pub top_n_sigma: f32,
        pub xtc_probability: f32,
        pub xtc_threshold: f32,
        pub dynatemp_range: f32,
        pub dynatemp_exponent: f32,
        pub mirostat: i32,
        pub mirostat_tau: f32,
        pub mirostat_eta: f32,
        pub min_keep: u32,
        pub n_logit_bias: u32,
        pub logit_bias: *const hearth_logit_bias,
        pub order: [i32; 8],
        pub ignore_end: bool,
    }
    pub struct hearth_estimate {
        pub struct_size: u32,
        pub n_prompt: u32,
        pub n_needed: u32,
        pub n_context: u32,
        pub kv_bytes: u64,
        pub fits: bool,
    }
    pub struct hearth_prompt_info {
        pub struct_size: u32,
        pub n_kept: u32,
        pub n_restored: u32,
        pub n_computed: u32,
    }
    pub struct hearth_logprob {
        pub token: i32,
        pub logprob: f32,
    }
    pub struct hearth_token {
        pub struct_size: u32,
        pub id: i32,
        pub text: *const c_char,
        pub text_bytes: usize,
        pub logprob: f32,
        pub n_top: u32,
        pub top: *const hearth_logprob,
    }
    pub struct hearth_generation {
        pub struct_size: u32,
        pub max_tokens: u32,
        pub stop_strings: *const *const c_char,
        pub n_stop_strings: u32,
        pub text: Option<hearth_text_fn>,
        pub text_user: *mut c_void,
        pub ids: *mut i32,
        pub ids_capacity: usize,
        pub keep_special: bool,
        pub token: Option<hearth_token_fn>,
        pub token_user: *mut c_void,
        pub logprobs: bool,
        pub n_top_logprobs: u32,
        pub paranoid_every: u32,
        pub n_checked: *mut u32,
    }
    pub struct hearth_result {
        pub struct_size: u32,
        pub n_generated: u32,
        pub stop: i32,
        pub seconds: f64,
    }
    pub struct hearth_message {
        pub struct_size: u32,
        pub role: i32,
        pub number: u64,
        pub n_tokens: u32,
        pub text: *const c_char,
        pub text_bytes: usize,
    }
    pub struct hearth_chat_options {
        pub struct_size: u32,
        pub chat_template: *const c_char,
        pub chat_template_bytes: usize,
        pub family: *const c_char,
        pub when_full: i32,
        pub reserve: u32,
        pub dropped: Option<hearth_dropped_fn>,
        pub dropped_user: *mut c_void,
        pub now: i64,
    }
    pub struct hearth_manager_options {
        pub struct_size: u32,
        pub state_folder: *const c_char,
        pub chat: *const hearth_chat_options,
    }
    pub struct hearth_model_info {
        pub struct_size: u32,
        pub state: i32,
        pub name: *const c_char,
        pub path: *const c_char,
        pub conversation: i32,
        pub saved: bool,
        pub resident_bytes: u64,
        pub plan_bytes: u64,
        pub last_used: u64,
    }
    pub struct hearth_optimized {
        pub struct_size: u32,
        pub n_unloaded: u32,
        pub bytes_freed: u64,
        pub weights: u64,
        pub kv: u64,
        pub cache: u64,
        pub scratch: u64,
    }
}

callbacks! {
    pub fn hearth_log_fn(level: i32, message: *const c_char, user: *mut c_void);
    pub fn hearth_progress_fn(done_bytes: u64, total_bytes: u64, user: *mut c_void) -> bool;
    pub fn hearth_abort_fn(user: *mut c_void) -> bool;
    pub fn hearth_text_fn(text: *const c_char, bytes: usize, user: *mut c_void) -> bool;
    pub fn hearth_token_fn(token: *const hearth_token, user: *mut c_void) -> bool;
    pub fn hearth_dropped_fn(message: *const hearth_message, user: *mut c_void);
}

functions! {
    pub fn hearth_version() -> *const c_char;
    pub fn hearth_abi() -> i32;
    pub fn hearth_status_name(status: hearth_status) -> *const c_char;
    pub fn hearth_status_exit_code(status: hearth_status) -> i32;
    pub fn hearth_engine_open(
        out: *mut *mut hearth_engine, options: *const hearth_engine_options, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_engine_close(engine: *mut hearth_engine);
    pub fn hearth_engine_summary(engine: *const hearth_engine) -> *const c_char;
    pub fn hearth_engine_threads(engine: *const hearth_engine) -> u32;
    pub fn hearth_engine_cpu_level(engine: *const hearth_engine) -> *const c_char;
    pub fn hearth_plan_open(
        out: *mut *mut hearth_plan, engine: *mut hearth_engine, path: *const c_char, limits: *const hearth_limits,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_plan_close(plan: *mut hearth_plan);
    pub fn hearth_plan_private_bytes(plan: *const hearth_plan) -> u64;
    pub fn hearth_plan_mapped_bytes(plan: *const hearth_plan) -> u64;
    pub fn hearth_plan_cap_bytes(plan: *const hearth_plan) -> u64;
    pub fn hearth_plan_context(plan: *const hearth_plan) -> u32;
    pub fn hearth_plan_batch(plan: *const hearth_plan) -> u32;
    pub fn hearth_plan_line_count(plan: *const hearth_plan) -> usize;
    pub fn hearth_plan_line_name(plan: *const hearth_plan, index: usize) -> *const c_char;
    pub fn hearth_plan_line_bytes(plan: *const hearth_plan, index: usize) -> u64;
    pub fn hearth_plan_check(plan: *const hearth_plan, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_model_open(
        out: *mut *mut hearth_model, engine: *mut hearth_engine, path: *const c_char, limits: *const hearth_limits,
        options: *const hearth_model_options, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_model_open_vocabulary(
        out: *mut *mut hearth_model, engine: *mut hearth_engine, path: *const c_char, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_model_close(model: *mut hearth_model);
    pub fn hearth_model_vocabulary_size(model: *const hearth_model) -> u32;
    pub fn hearth_model_trained_context(model: *const hearth_model) -> u32;
    pub fn hearth_model_weight_bytes(model: *const hearth_model) -> u64;
    pub fn hearth_model_is_end(model: *const hearth_model, token: i32) -> bool;
    pub fn hearth_tokenize(
        model: *mut hearth_model, text: *const c_char, text_bytes: usize, flags: u32, ids: *mut i32, capacity: usize,
        n_ids: *mut usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_tokenize_infill(
        model: *mut hearth_model, prefix: *const c_char, prefix_bytes: usize, suffix: *const c_char, suffix_bytes: usize,
        ids: *mut i32, capacity: usize, n_ids: *mut usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_tokenize_marked(
        model: *mut hearth_model, text: *const c_char, from_caller: *const u8, text_bytes: usize, flags: u32, ids: *mut i32,
        capacity: usize, n_ids: *mut usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_detokenize(
        model: *const hearth_model, ids: *const i32, n_ids: usize, text: *mut c_char, capacity: usize, text_bytes: *mut usize,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_sampling_init(sampling: *mut hearth_sampling, struct_size: usize);
    pub fn hearth_session_open(
        out: *mut *mut hearth_session, model: *mut hearth_model, limits: *const hearth_limits, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_close(session: *mut hearth_session);
    pub fn hearth_session_set_sampling(
        session: *mut hearth_session, sampling: *const hearth_sampling, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_set_grammar(
        session: *mut hearth_session, grammar: *const c_char, bytes: usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_reset(session: *mut hearth_session);
    pub fn hearth_session_position(session: *const hearth_session) -> u32;
    pub fn hearth_session_context(session: *const hearth_session) -> u32;
    pub fn hearth_session_tokens(session: *const hearth_session, n: *mut u32) -> *const i32;
    pub fn hearth_session_rewind(session: *mut hearth_session, position: u32, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_session_cancel(session: *mut hearth_session);
    pub fn hearth_session_resume(session: *mut hearth_session);
    pub fn hearth_session_set_deadline(session: *mut hearth_session, seconds: f64, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_session_estimate(
        session: *mut hearth_session, text: *const c_char, text_bytes: usize, flags: u32, n_answer: u32,
        estimate: *mut hearth_estimate, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_feed(
        session: *mut hearth_session, ids: *const i32, n_ids: usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_feed_text(
        session: *mut hearth_session, text: *const c_char, text_bytes: usize, flags: u32, n_ids: *mut usize,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_prompt(
        session: *mut hearth_session, ids: *const i32, n_ids: usize, info: *mut hearth_prompt_info, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_session_save(session: *mut hearth_session, path: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_session_restore(session: *mut hearth_session, path: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_session_logits(session: *const hearth_session, back: u32) -> *const f32;
    pub fn hearth_session_sample(session: *mut hearth_session, token: *mut i32, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_generate(
        session: *mut hearth_session, generation: *const hearth_generation, result: *mut hearth_result,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_open(
        out: *mut *mut hearth_chat, session: *mut hearth_session, options: *const hearth_chat_options,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_close(chat: *mut hearth_chat);
    pub fn hearth_chat_session(chat: *mut hearth_chat) -> *mut hearth_session;
    pub fn hearth_chat_set_system(
        chat: *mut hearth_chat, text: *const c_char, bytes: usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_add(
        chat: *mut hearth_chat, role: i32, text: *const c_char, bytes: usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_answer(
        chat: *mut hearth_chat, generation: *const hearth_generation, result: *mut hearth_result, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_send(
        chat: *mut hearth_chat, text: *const c_char, bytes: usize, generation: *const hearth_generation,
        result: *mut hearth_result, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_prompt_info(
        chat: *const hearth_chat, info: *mut hearth_prompt_info, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_pop(chat: *mut hearth_chat, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_chat_clear(chat: *mut hearth_chat);
    pub fn hearth_chat_count(chat: *const hearth_chat) -> usize;
    pub fn hearth_chat_message(
        chat: *const hearth_chat, index: usize, out: *mut hearth_message, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_set_metadata(
        chat: *mut hearth_chat, key: *const c_char, value: *const c_char, bytes: usize, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_chat_metadata(chat: *const hearth_chat, key: *const c_char, bytes: *mut usize) -> *const c_char;
    pub fn hearth_chat_save(chat: *mut hearth_chat, path: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_chat_restore(chat: *mut hearth_chat, path: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_manager_open(
        out: *mut *mut hearth_manager, engine: *mut hearth_engine, options: *const hearth_manager_options,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_manager_close(manager: *mut hearth_manager);
    pub fn hearth_manager_register(
        manager: *mut hearth_manager, name: *const c_char, path: *const c_char, limits: *const hearth_limits,
        error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_manager_forget(manager: *mut hearth_manager, name: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_manager_switch(manager: *mut hearth_manager, name: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_manager_load(manager: *mut hearth_manager, name: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_manager_unload(manager: *mut hearth_manager, name: *const c_char, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_manager_save(manager: *mut hearth_manager, error: *mut hearth_error) -> hearth_status;
    pub fn hearth_manager_current(manager: *mut hearth_manager) -> *const c_char;
    pub fn hearth_manager_session(manager: *mut hearth_manager) -> *mut hearth_session;
    pub fn hearth_manager_chat(manager: *mut hearth_manager) -> *mut hearth_chat;
    pub fn hearth_manager_model(manager: *mut hearth_manager) -> *mut hearth_model;
    pub fn hearth_manager_count(manager: *mut hearth_manager) -> usize;
    pub fn hearth_manager_info(
        manager: *mut hearth_manager, index: usize, out: *mut hearth_model_info, error: *mut hearth_error
    ) -> hearth_status;
    pub fn hearth_manager_optimize(
        manager: *mut hearth_manager, out: *mut hearth_optimized, error: *mut hearth_error
    ) -> hearth_status;
}
