//! Text and paths on their way to C and back.
use crate::error::{LLMError, Result};
use std::ffi::{CStr, CString, OsStr};
use std::os::raw::c_char;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Text that ends in NUL; what is not UTF-8 is replaced.
///
/// # Safety
/// `text` is NULL or ends in NUL.
pub(crate) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    CStr::from_ptr(text).to_string_lossy().into_owned()
}

/// A path that ends in NUL.
///
/// # Safety
/// `path` ends in NUL.
pub(crate) unsafe fn path_of(path: *const c_char) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(CStr::from_ptr(path).to_bytes()))
}

pub(crate) fn c_text(what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| LLMError::config(format!("{what}: it has a NUL byte")))
}

pub(crate) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| LLMError::ModelNotFound { message: format!("{}: the name has a NUL byte", path.display()) })
}

/// An array of C, which may be NULL when it has nothing.
///
/// # Safety
/// `at` has `n` elements, which live as long as the caller says.
pub(crate) unsafe fn slice<'a, T>(at: *const T, n: usize) -> &'a [T] {
    if n == 0 {
        return &[];
    }
    std::slice::from_raw_parts(at, n)
}

/// `size_of` as `struct_size` wants it.
pub(crate) fn size_of<T>() -> u32 {
    std::mem::size_of::<T>() as u32
}
