//! Which of a few flags are set: one value in place of a row of booleans.

use std::fmt;
use std::marker::PhantomData;

/// An enum whose variants are flags, at most sixteen of them.
pub trait Flag: Copy + fmt::Debug + 'static {
    /// Every flag, in order of declaration.
    const ALL: &'static [Self];

    /// The one bit of a set that stands for this flag.
    fn bit(self) -> u16;
}

/// The flags of one enum that are set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FlagSet<F>(u16, PhantomData<F>);

impl<F> Default for FlagSet<F> {
    fn default() -> Self {
        Self(0, PhantomData)
    }
}

impl<F: Flag> FlagSet<F> {
    /// Whether `flag` is set.
    pub fn contains(self, flag: F) -> bool {
        self.0 & flag.bit() != 0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags that are set, in order of declaration.
    pub fn iter(self) -> impl Iterator<Item = F> {
        F::ALL.iter().copied().filter(move |flag| self.contains(*flag))
    }

    /// Sets `flag`.
    pub fn insert(&mut self, flag: F) {
        self.0 |= flag.bit();
    }

    /// Sets `flag` if `holds`; a flag that is set already stays set.
    pub fn insert_if(&mut self, holds: bool, flag: F) {
        if holds {
            self.insert(flag);
        }
    }

    /// The flags that hold.
    pub(crate) fn of(flags: impl IntoIterator<Item = (F, bool)>) -> Self {
        let mut set = Self::default();
        flags.into_iter().for_each(|(flag, holds)| set.insert_if(holds, flag));
        set
    }
}

impl<F: Flag> fmt::Debug for FlagSet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Declares an enum of flags.
macro_rules! flags {
    (
        $(#[$about:meta])+
        $vis:vis enum $name:ident { $($(#[doc = $doc:literal])+ $flag:ident,)+ }
    ) => {
        $(#[$about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[doc = $doc])+ $flag,)+ }

        // More flags than bits do not compile.
        const _: () = assert!([$($name::$flag),+].len() <= u16::BITS as usize);

        impl $crate::base::flags::Flag for $name {
            const ALL: &'static [Self] = &[$(Self::$flag),+];

            fn bit(self) -> u16 {
                1 << self as u32
            }
        }
    };
}

pub(crate) use flags;

#[cfg(test)]
mod tests {
    use super::*;

    flags! {
        /// Three flags.
        enum Three {
            /// The first.
            A,
            /// The second.
            B,
            /// The third.
            C,
        }
    }

    #[test]
    fn a_flag_is_set_once_it_was_inserted_and_no_other_is() {
        for inserted in Three::ALL {
            let mut set = FlagSet::default();
            set.insert_if(false, *inserted);
            assert!(set.is_empty());
            set.insert(*inserted);
            set.insert_if(false, *inserted);
            assert!(Three::ALL.iter().all(|flag| set.contains(*flag) == (flag == inserted)));
        }
    }

    #[test]
    fn a_set_lists_its_flags_by_name_in_order_of_declaration() {
        let set = FlagSet::of([(Three::C, true), (Three::B, false), (Three::A, true)]);
        assert_eq!(format!("{set:?}"), "{A, C}");
        assert_eq!(format!("{:?}", FlagSet::<Three>::default()), "{}");
    }
}
