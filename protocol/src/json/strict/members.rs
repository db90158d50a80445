//! The members of an object, without duplicates.

use std::{borrow::Cow, collections::BTreeSet, fmt, mem};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, Error as _, MapAccess, Visitor,
        value::{BorrowedStrDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{OnIgnored, StrictSeed};

/// The members of a struct. Serde rejects duplicates of its own fields; this type records the names
/// of the others, which costs nothing if there are none.
pub(super) struct Fields<'de, A> {
    pub(super) members: A,
    pub(super) names: Names<'de>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.members.next_key_seed(Noted(seed, &mut self.names))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.members.next_value_seed(StrictSeed(seed, &mut self.names))
    }
}

/// The name of the member that is read, and of those that were ignored.
#[derive(Default)]
pub(super) struct Names<'de> {
    /// None if it was written with escapes.
    name: Option<&'de str>,
    escaped: String,
    ignored: BTreeSet<Cow<'de, str>>,
}

impl OnIgnored for &mut Names<'_> {
    fn ignored<E: de::Error>(self) -> Result<(), E> {
        let escaped = || Cow::Owned(mem::take(&mut self.escaped));
        let name = self.name.map_or_else(escaped, Cow::Borrowed);
        if self.ignored.insert(name) { Ok(()) } else { Err(E::custom(TWICE)) }
    }
}

const TWICE: &str = "a member is there twice";

/// Reads a field's name and records it. (First as a seed, then as the deserializer that the seed is
/// given, then as the visitor that sees the name.)
struct Noted<'n, 'de, T>(T, &'n mut Names<'de>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Noted<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Noted(name, self.1))
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Noted<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_identifier(Noted(visitor, self.1))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Noted<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<V::Value, E> {
        self.1.name = Some(name);
        self.0.visit_borrowed_str(name)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<V::Value, E> {
        self.1.name = None;
        name.clone_into(&mut self.1.escaped);
        self.0.visit_str(name)
    }
}

/// The members of any other object, without duplicates.
pub(super) struct Members<'de, A> {
    pub(super) members: A,
    pub(super) seen: BTreeSet<Cow<'de, str>>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(Key(name)) = self.members.next_key()? else { return Ok(None) };
        let key = match &name {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(StrDeserializer::new(name)),
        }?;
        if self.seen.insert(name) { Ok(Some(key)) } else { Err(A::Error::custom(TWICE)) }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.members.next_value_seed(StrictSeed(seed, ()))
    }
}

/// The name of a member.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}
