//! Compares the declarations with hearth.h as a C compiler has it.
use super::*;

/// What a type is to the C side: i, u, f, b or p (any pointer) with its size, as tests/tools/layout.py writes it.
pub(crate) trait Kind {
    fn kind() -> String;
}

macro_rules! kinds {
    ($($type:ty: $kind:expr;)*) => {
        $(impl Kind for $type {
            fn kind() -> String {
                $kind.to_string()
            }
        })*
    };
}

kinds! {
    i8: "i1"; u8: "u1"; i32: "i4"; u32: "u4"; i64: "i8"; u64: "u8"; usize: "u8"; f32: "f4"; f64: "f8"; bool: "b1";
}

impl<T> Kind for *const T {
    fn kind() -> String {
        "p8".to_string()
    }
}

impl<T> Kind for *mut T {
    fn kind() -> String {
        "p8".to_string()
    }
}

/// Of functions.
impl<T> Kind for Option<T> {
    fn kind() -> String {
        "p8".to_string()
    }
}

impl<T: Kind, const N: usize> Kind for [T; N] {
    fn kind() -> String {
        format!("{}[{N}]", T::kind())
    }
}

pub(crate) fn prototype(what: &str, name: &str, result: String, arguments: &[String]) -> String {
    let mut line = format!("{what} {name} {result}");
    for argument in arguments {
        line = line + " " + argument;
    }
    line
}

/// The file that HEARTH_LAYOUT names is what tests/tools/layout.py prints of hearth.h.
#[test]
#[ignore = "needs HEARTH_LAYOUT; tests/tools/rust.sh makes it"]
fn declarations_are_those_of_the_header() {
    let path = std::env::var("HEARTH_LAYOUT").expect("HEARTH_LAYOUT");
    let text = std::fs::read_to_string(&path).expect("the file that HEARTH_LAYOUT names");
    let header: std::collections::BTreeSet<String> = text.lines().map(String::from).collect();
    let mut list = Vec::new();
    list_constants(&mut list);
    list_structures(&mut list);
    list_callbacks(&mut list);
    list_functions(&mut list);
    let declared: std::collections::BTreeSet<String> = list.into_iter().collect();
    let missing: Vec<_> = header.difference(&declared).collect();
    let wrong: Vec<_> = declared.difference(&header).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "only in hearth.h: {missing:#?}\nonly in hearth-sys: {wrong:#?}");
    assert!(declared.len() > 150);
}
