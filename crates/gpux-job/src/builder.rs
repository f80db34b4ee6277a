//! The builder as the file writes it: an address that somebody owns, and a share that the escrow accepts.

use crate::text::{Text, cut};
use gpux_types::{Address, BasisPoints};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::str::FromStr;

/// Who published the app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Builder")]
pub(crate) struct BuilderFile {
    /// The address that is paid.
    #[schemars(schema_with = "address_schema")]
    pub(crate) address: Text<BuilderAddress>,
    /// The share of what providers are paid, at most 10%.
    #[schemars(schema_with = "share_schema")]
    pub(crate) share: Text<Share>,
}

/// A builder's address, with its checksum right where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BuilderAddress(pub(crate) Address);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseAddressError {
    #[error("reading an address from {0:?}: expected 0x and 40 hexadecimal digits")]
    NotAnAddress(String),
    #[error("reading an address from {0:?}: its checksum is wrong, so a character may be")]
    Checksum(String),
    #[error("reading an address from {0:?}: nobody could be paid there")]
    Zero(String),
}

impl FromStr for BuilderAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .strip_prefix("0x")
            .ok_or_else(|| ParseAddressError::NotAnAddress(cut(text)))?;
        let address: Address = digits.parse().map_err(|_| ParseAddressError::NotAnAddress(cut(text)))?;
        let mixed =
            digits.contains(|c: char| c.is_ascii_uppercase()) && digits.contains(|c: char| c.is_ascii_lowercase());
        if mixed && Address::parse_checksummed(text, None).is_err() {
            return Err(ParseAddressError::Checksum(cut(text)));
        }
        if address.is_zero() {
            return Err(ParseAddressError::Zero(cut(text)));
        }
        Ok(Self(address))
    }
}

/// A builder's share: `5%`, `2.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(pub(crate) BasisPoints);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseShareError {
    #[error(
        "reading a share from {0:?}: expected percent with at most two digits behind the point, such as 5% or 2.5%"
    )]
    NotAShare(String),
    #[error("reading a share from {0:?}: a builder's share is at most 10%")]
    TooLarge(String),
}

impl FromStr for Share {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseShareError::NotAShare(cut(text));
        let number = text.strip_suffix('%').map(str::trim_end).ok_or_else(error)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.len() <= 3 && part.chars().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 {
            return Err(error());
        }
        let points: u32 = format!("{whole}{fraction:0<2}").parse().map_err(|_| error())?;
        let too_large = || ParseShareError::TooLarge(cut(text));
        let points = u16::try_from(points).map_err(|_| too_large())?;
        BasisPoints::new(points).map(Self).map_err(|_| too_large())
    }
}

fn address_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{40}$" })
}

fn share_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]{1,2}(\\.[0-9]{1,2})?%$", "examples": ["5%"] })
}
