//! Macros that declare things of C and, for the tests, list them: name, size, offsets, kinds. So nothing declared goes unchecked.

/// Integer constants of one type.
macro_rules! constants {
    ($($type:ty { $($name:ident = $value:expr;)* })*) => {
        $($(pub const $name: $type = $value;)*)*
        #[cfg(test)]
        fn list_constants(list: &mut Vec<String>) {
            $($(list.push(format!("constant {} {}", stringify!($name), $name));)*)*
        }
    };
}

/// Types of which only pointers exist.
macro_rules! handles {
    ($($name:ident)*) => {
        $(#[repr(C)]
        pub struct $name {
            _private: [u8; 0],
            _neither_send_nor_sync: core::marker::PhantomData<*mut u8>,
        })*
    };
}

/// Structures. Their default is all zero, which is what the header calls the default; `struct_size` is still to be set.
macro_rules! structures {
    ($(pub struct $name:ident { $(pub $field:ident: $type:ty,)* })*) => {
        $(#[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            $(pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                // SAFETY: numbers, bool, pointers and optional function pointers, all of which may be zero.
                unsafe { core::mem::zeroed() }
            }
        })*
        #[cfg(test)]
        fn list_structures(list: &mut Vec<String>) {
            $({
                let whole = $name::default();
                let begin = &whole as *const $name as usize;
                list.push(format!("struct {} {}", stringify!($name), core::mem::size_of::<$name>()));
                $(list.push(format!("field {}.{} {} {}", stringify!($name), stringify!($field),
                    core::ptr::addr_of!(whole.$field) as usize - begin, <$type as Kind>::kind()));)*
            })*
        }
    };
}

/// Types of functions that C calls.
macro_rules! callbacks {
    ($(pub fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(pub type $name = unsafe extern "C" fn($($argument: $type),*) $(-> $result)?;)*
        #[cfg(test)]
        fn list_callbacks(list: &mut Vec<String>) {
            $(list.push(prototype("callback", stringify!($name), result_kind!($($result)?), &[$(<$type as Kind>::kind()),*]));)*
        }
    };
}

/// Functions that the library has.
macro_rules! functions {
    ($(pub fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        extern "C" {
            $(pub fn $name($($argument: $type),*) $(-> $result)?;)*
        }
        #[cfg(test)]
        fn list_functions(list: &mut Vec<String>) {
            $(list.push(prototype("function", stringify!($name), result_kind!($($result)?), &[$(<$type as Kind>::kind()),*]));)*
        }
    };
}

#[cfg(test)]
macro_rules! result_kind {
    () => {
        "v".to_string()
    };
    ($type:ty) => {
        <$type as Kind>::kind()
    };
}
