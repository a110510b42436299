//! What an operator sees of a service.

use std::fmt;

/// Named figures, collected by [`ClusteredService::status`](crate::ClusteredService::status). Reused from call
/// to call, so that the vector grows once.
#[derive(Clone, Debug, Default)]
pub struct StatusFields {
    fields: Vec<(&'static str, StatusValue)>,
}

impl StatusFields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a signed figure.
    pub fn i64(&mut self, name: &'static str, value: i64) -> &mut Self {
        self.push(name, StatusValue::I64(value))
    }

    /// Adds an unsigned figure.
    pub fn u64(&mut self, name: &'static str, value: u64) -> &mut Self {
        self.push(name, StatusValue::U64(value))
    }

    /// Adds a bit pattern, such as a hash.
    pub fn hex(&mut self, name: &'static str, value: u64) -> &mut Self {
        self.push(name, StatusValue::Hex(value))
    }

    /// The fields in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, StatusValue)> + '_ {
        self.fields.iter().copied()
    }

    /// The first field of this name.
    pub fn get(&self, name: &str) -> Option<StatusValue> {
        self.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// Removes all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
    }

    fn push(&mut self, name: &'static str, value: StatusValue) -> &mut Self {
        self.fields.push((name, value));
        self
    }
}

/// One figure, and how it is to be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusValue {
    /// Decimal, with a sign if negative.
    I64(i64),
    /// Decimal.
    U64(u64),
    /// Sixteen lower-case hexadecimal digits.
    Hex(u64),
}

impl fmt::Display for StatusValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I64(value) => write!(f, "{value}"),
            Self::U64(value) => write!(f, "{value}"),
            Self::Hex(value) => write!(f, "{value:016x}"),
        }
    }
}
