//! How answers are chosen, and when they end.
use crate::error::Result;
use crate::text::c_text;
use hearth_sys as sys;
use std::ffi::CString;
use std::os::raw::c_char;

/// A step of [`InferenceParams::order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Sampler {
    TopNSigma = sys::HEARTH_SAMPLER_TOP_N_SIGMA,
    TopK = sys::HEARTH_SAMPLER_TOP_K,
    Typical = sys::HEARTH_SAMPLER_TYPICAL,
    TopP = sys::HEARTH_SAMPLER_TOP_P,
    MinP = sys::HEARTH_SAMPLER_MIN_P,
    Xtc = sys::HEARTH_SAMPLER_XTC,
    Temperature = sys::HEARTH_SAMPLER_TEMPERATURE,
}

/// How the next token is chosen and where an answer ends. The default is the library's (`hearth_sampling_init()`); what each value
/// does and which are allowed stands at `hearth_sampling` in `hearth.h` and in `docs/sampling.md`. A value out of its range is
/// [`LLMError::InvalidConfig`](crate::LLMError::InvalidConfig), never moved into it silently.
///
/// ```
/// let params = hearth::InferenceParams { temperature: 0.0, max_tokens: 40, ..Default::default() };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct InferenceParams {
    /// 0.8; 0 takes the most likely token.
    pub temperature: f32,
    /// 0.95; 1 is off.
    pub top_p: f32,
    /// 40; 0 is off.
    pub top_k: i32,
    /// The longest answer; 256. `u32::MAX`: until the context is full.
    pub max_tokens: u32,
    /// Texts that end an answer, found across token borders too; they are not shown. At most 16, each of 1 to 256 bytes.
    pub stop_tokens: Vec<String>,
    /// The same seed gives the same answer.
    pub seed: u64,

    pub min_p: f32,
    pub repeat_penalty: f32,
    pub repeat_last_n: i32,
    pub frequency_penalty: f32,
    pub presence_penalty: f32,
    pub dry_multiplier: f32,
    pub dry_base: f32,
    pub dry_allowed_length: i32,
    pub dry_last_n: i32,
    /// None: the library's.
    pub dry_breakers: Option<Vec<String>>,
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
    /// Token, and what is added to its logit; `f32::NEG_INFINITY` forbids it.
    pub logit_bias: Vec<(i32, f32)>,
    /// Empty: in the order of [`Sampler`].
    pub order: Vec<Sampler>,
    /// Never choose a token that ends an answer.
    pub ignore_end: bool,
    /// Show special tokens by their names, the ending one included.
    pub keep_special: bool,
}

/// The library's own defaults.
fn defaults() -> sys::hearth_sampling {
    let mut s = sys::hearth_sampling::default();
    // SAFETY: a whole structure of this size.
    unsafe { sys::hearth_sampling_init(&mut s, std::mem::size_of_val(&s)) };
    s
}

impl Default for InferenceParams {
    fn default() -> Self {
        let s = defaults();
        InferenceParams {
            temperature: s.temperature,
            top_p: s.top_p,
            top_k: s.top_k,
            max_tokens: 256,
            stop_tokens: Vec::new(),
            seed: s.seed,
            min_p: s.min_p,
            repeat_penalty: s.repeat_penalty,
            repeat_last_n: s.repeat_last_n,
            frequency_penalty: s.frequency_penalty,
            presence_penalty: s.presence_penalty,
            dry_multiplier: s.dry_multiplier,
            dry_base: s.dry_base,
            dry_allowed_length: s.dry_allowed_length,
            dry_last_n: s.dry_last_n,
            dry_breakers: None,
            typical_p: s.typical_p,
            top_n_sigma: s.top_n_sigma,
            xtc_probability: s.xtc_probability,
            xtc_threshold: s.xtc_threshold,
            dynatemp_range: s.dynatemp_range,
            dynatemp_exponent: s.dynatemp_exponent,
            mirostat: s.mirostat,
            mirostat_tau: s.mirostat_tau,
            mirostat_eta: s.mirostat_eta,
            min_keep: s.min_keep,
            logit_bias: Vec::new(),
            order: Vec::new(),
            ignore_end: s.ignore_end,
            keep_special: false,
        }
    }
}

/// Strings as C takes them: pointers to texts that end in NUL. They live as long as this does.
#[derive(Default)]
pub(crate) struct Strings {
    _texts: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers are to the texts beside them, which nobody changes.
unsafe impl Send for Strings {}

impl Strings {
    pub(crate) fn new(what: &str, texts: &[String]) -> Result<Self> {
        let texts: Vec<CString> = texts.iter().map(|text| c_text(what, text)).collect::<Result<_>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).collect();
        Ok(Strings { _texts: texts, pointers })
    }

    pub(crate) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.pointers.len()).unwrap_or(u32::MAX)
    }
}

impl InferenceParams {
    /// Hand the sampling part to `set`, as C has it.
    pub(crate) fn with_sampling<R>(&self, set: impl FnOnce(&sys::hearth_sampling) -> Result<R>) -> Result<R> {
        let mut s = defaults();
        let breakers = Strings::new("dry_breakers", self.dry_breakers.as_deref().unwrap_or(&[]))?;
        let biases: Vec<_> = self.logit_bias.iter().map(|&(token, bias)| sys::hearth_logit_bias { token, bias }).collect();
        if self.order.len() > s.order.len() {
            return Err(crate::LLMError::config(format!(
                "params: order: too many samplers (got {}, need at most {})",
                self.order.len(),
                s.order.len()
            )));
        }
        if self.dry_breakers.is_some() {
            s.dry_breakers = breakers.as_ptr();
            s.n_dry_breakers = breakers.len();
        }
        if !self.order.is_empty() {
            s.order = [0; 8];
        }
        for (slot, &sampler) in s.order.iter_mut().zip(&self.order) {
            *slot = sampler as i32;
        }
        s.logit_bias = biases.as_ptr();
        s.n_logit_bias = u32::try_from(biases.len()).unwrap_or(u32::MAX);
        s.temperature = self.temperature;
        s.top_p = self.top_p;
        s.top_k = self.top_k;
        s.seed = self.seed;
        s.min_p = self.min_p;
        s.repeat_penalty = self.repeat_penalty;
        s.repeat_last_n = self.repeat_last_n;
        s.frequency_penalty = self.frequency_penalty;
        s.presence_penalty = self.presence_penalty;
        s.dry_multiplier = self.dry_multiplier;
        s.dry_base = self.dry_base;
        s.dry_allowed_length = self.dry_allowed_length;
        s.dry_last_n = self.dry_last_n;
        s.typical_p = self.typical_p;
        s.top_n_sigma = self.top_n_sigma;
        s.xtc_probability = self.xtc_probability;
        s.xtc_threshold = self.xtc_threshold;
        s.dynatemp_range = self.dynatemp_range;
        s.dynatemp_exponent = self.dynatemp_exponent;
        s.mirostat = self.mirostat;
        s.mirostat_tau = self.mirostat_tau;
        s.mirostat_eta = self.mirostat_eta;
        s.min_keep = self.min_keep;
        s.ignore_end = self.ignore_end;
        set(&s)
    }
}
