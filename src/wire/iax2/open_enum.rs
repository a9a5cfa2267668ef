//! `open_enum!`: an enumeration of wire values that keeps those it does not know.

/// Declares an enumeration over an unsigned integer with a variant `Unknown` for every other value,
/// conversions both ways that lose nothing, and the name each value has in the field.
macro_rules! open_enum {
    (
        $(#[$doc:meta])*
        pub enum $name:ident($raw:ty) {
            $($(#[$variant_doc:meta])* $variant:ident = $value:literal => $text:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A value that no specification or deployed peer we know of defines.
            Unknown($raw),
        }

        impl $name {
            /// Every value that has a name, in ascending order.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The value on the wire.
            #[must_use]
            pub const fn get(self) -> $raw {
                match self {
                    $(Self::$variant => $value,)+
                    Self::Unknown(raw) => raw,
                }
            }

            /// The name in the field, or `None` for an unknown value.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Unknown(_) => None,
                }
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                match raw {
                    $($value => Self::$variant,)+
                    _ => Self::Unknown(raw),
                }
            }
        }

        impl From<$name> for $raw {
            fn from(value: $name) -> $raw {
                value.get()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "unknown {:#04x}", self.get()),
                }
            }
        }
    };
}

pub(super) use open_enum;
