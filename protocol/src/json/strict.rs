//! A strict JSON reader, which accepts each value in one form only.
//!
//! `serde_json` is as lenient as serde: it accepts an array for a struct, an object for the name of
//! an enum's variant, and the last of several members with one name. Two readers can interpret such
//! a text differently. This reader wraps `serde_json`'s and rejects all three, in every object of
//! the text, including ignored members.

mod members;

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess,
        VariantAccess, Visitor, value::StrDeserializer,
    },
};

use members::{Fields, Members, Names};

/// Reads a value from a whole text.
///
/// # Errors
/// If the text is not JSON, has an object with a member twice, or is not a `T`.
pub fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Strict(&mut json, ()))?;
    json.end()?;
    Ok(value)
}

/// The wrapper, and the observer that is notified when its value is ignored.
struct Strict<D, I>(D, I);

/// Handling of values that are not read.
trait OnIgnored {
    fn ignored<E: de::Error>(self) -> Result<(), E>;
}

/// No effect. Members of a struct are observed by [`Names`].
impl OnIgnored for () {
    fn ignored<E>(self) -> Result<(), E> {
        Ok(())
    }
}

macro_rules! leaf {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(visitor)
        }
    )+};
}

macro_rules! nested {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Inner(visitor))
        }
    )+};
}

impl<'de, D: Deserializer<'de>, I: OnIgnored> Deserializer<'de> for Strict<D, I> {
    type Error = D::Error;

    leaf! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_identifier
    }

    nested! { deserialize_any deserialize_option deserialize_seq deserialize_map }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Inner(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Inner(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Inner(visitor))
    }

    /// A struct is an object, never an array.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Struct(visitor))
    }

    /// An enum's variant is an object with one member, or the bare name if it has no contents.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Variant(visitor))
    }

    /// Unread values are checked too.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.1.ignored()?;
        self.0.deserialize_any(Inner(IgnoredAny))?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Passes all values to a visitor, and reads nested values strictly.
struct Inner<V>(V);

macro_rules! scalars {
    ($($method:ident: $type:ty)+) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )+};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inner<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    scalars! {
        visit_bool: bool
        visit_i64: i64
        visit_u64: u64
        visit_f64: f64
        visit_str: &str
        visit_borrowed_str: &'de str
        visit_string: String
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(value, ()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(value, ()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Members { members, seen: BTreeSet::new() })
    }
}

/// The visitor of a struct, which accepts objects only.
struct Struct<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Struct<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Fields { members, names: Names::default() })
    }
}

/// A visitor that accepts only variants of an enum.
struct Variant<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Variant<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<V::Value, E> {
        self.0.visit_enum(StrDeserializer::new(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<V::Value, A::Error> {
        // serde_json fails if there are more members than were asked for.
        self.0.visit_enum(OneMember(&mut members))
    }
}

/// The first member of an object as the variant of an enum.
struct OneMember<'a, A>(&'a mut A);

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for OneMember<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), A::Error> {
        match self.0.next_key_seed(seed)? {
            Some(variant) => Ok((variant, self)),
            None => Err(A::Error::custom("no member")),
        }
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for OneMember<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::custom("an object for a name"))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(StrictSeed(seed, ()))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("no message is a list"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(Contents(visitor))
    }
}

/// Reads the contents of a variant, which are an object.
struct Contents<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Contents<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, contents: D) -> Result<V::Value, D::Error> {
        contents.deserialize_map(Struct(self.0))
    }
}

/// Reads the value of a seed strictly.
struct StrictSeed<S, I>(S, I);

impl<'de, S: DeserializeSeed<'de>, I: OnIgnored> DeserializeSeed<'de> for StrictSeed<S, I> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(value, self.1))
    }
}

/// The items of an array.
struct Items<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(StrictSeed(seed, ()))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}
