//! What SQL can ask beyond SQL: networks, names, bytes, reasons, what JSON says. Text and bytes come as views, as the tables have them.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use event::{Field, value};
use ipnet::IpNet;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// A part of a host name.
pub type NamePart = for<'a> fn(&'a str) -> Option<&'a str>;

/// What is known of host names, by functions that another crate has.
#[derive(Clone, Copy, Debug)]
pub struct NameFunctions {
    /// `example.co.uk` of `www.example.co.uk`.
    pub registrable_domain: NamePart,
    /// `co.uk` of `www.example.co.uk`.
    pub public_suffix: NamePart,
    /// `uk` of `www.example.co.uk`.
    pub top_level_domain: NamePart,
}

impl Default for NameFunctions {
    fn default() -> NameFunctions {
        NameFunctions { registrable_domain: |_| None, public_suffix: |_| None, top_level_domain: |_| None }
    }
}

pub(super) fn register(session: &SessionContext, names: &NameFunctions) {
    session.register_udf(in_network());
    session.register_udf(part_of_name("registrable_domain", names.registrable_domain));
    session.register_udf(part_of_name("public_suffix", names.public_suffix));
    session.register_udf(part_of_name("top_level_domain", names.top_level_domain));
    session.register_udf(hex());
    session.register_udf(sort_of_reason());
    session.register_udf(json_text());
}

/// `in_network(source_ip, '192.0.2.0/24')`: null where either is none.
fn in_network() -> ScalarUDF {
    let text = || DataType::Utf8View;
    create_udf(
        "in_network",
        vec![text(), text()],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(|arguments: &[ColumnarValue]| {
            let rows = rows_of(arguments);
            let addresses = arguments[0].to_array(rows)?;
            let addresses = addresses.as_string_view();
            let contains = |network: Option<IpNet>, row: usize| -> Option<bool> {
                let address: IpAddr = addresses.is_valid(row).then(|| addresses.value(row).parse().ok())??;
                Some(network?.contains(&address))
            };
            let found: BooleanArray = match &arguments[1] {
                // One network for all rows is read once.
                ColumnarValue::Scalar(network) => {
                    let network = match network.try_as_str().flatten() {
                        Some(text) => Some(network_of(text)?),
                        None => None,
                    };
                    (0..rows).map(|row| contains(network, row)).collect()
                }
                ColumnarValue::Array(_) => {
                    let networks = arguments[1].to_array(rows)?;
                    let networks = networks.as_string_view();
                    (0..rows)
                        .map(|row| contains(networks.is_valid(row).then(|| network_of(networks.value(row)).ok()).flatten(), row))
                        .collect()
                }
            };
            answer(arguments, Arc::new(found))
        }),
    )
}

/// A network, or an address that stands for itself.
fn network_of(text: &str) -> Result<IpNet> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| DataFusionError::Execution(format!("in_network: \"{text}\" is not a network such as 192.0.2.0/24")))
}

/// Null of what is no host name, an address or a URL among them.
fn part_of_name(name: &'static str, part: NamePart) -> ScalarUDF {
    giving_text(name, vec![DataType::Utf8View], move |arguments| {
        let names = arguments[0].as_string_view();
        let mut parts = StringViewBuilder::with_capacity(names.len());
        let mut canonical = String::new();
        for name in names {
            let host = name.and_then(|name| value::text(Field::SOURCE_FQDN, name, &mut canonical).ok());
            parts.append_option(host.and_then(part));
        }
        parts.finish()
    })
}

/// `hex(id)`: bytes as text, the form in which ids are shown.
fn hex() -> ScalarUDF {
    giving_text("hex", vec![DataType::BinaryView], |arguments| {
        arguments[0].as_binary_view().iter().map(|bytes| bytes.map(event::id::hex)).collect()
    })
}

/// `sort_of_reason(reason)`: what the rejects of one sort of mistake have in common.
fn sort_of_reason() -> ScalarUDF {
    giving_text("sort_of_reason", vec![DataType::Utf8View], |arguments| {
        arguments[0].as_string_view().iter().map(|reason| reason.map(event::reject::sort)).collect()
    })
}

/// `json_text(extra, 'sector')`: null where there is no object or it has no such key.
fn json_text() -> ScalarUDF {
    giving_text("json_text", vec![DataType::Utf8View, DataType::Utf8View], |arguments| {
        let pairs = arguments[0].as_string_view().iter().zip(arguments[1].as_string_view());
        pairs.map(|(object, key)| value_under(key?, object?)).collect()
    })
}

/// A function that gives a text for each row of its arguments.
fn giving_text(
    name: &'static str,
    arguments: Vec<DataType>,
    texts: impl Fn(&[ArrayRef]) -> StringViewArray + Send + Sync + 'static,
) -> ScalarUDF {
    let texts = move |arguments: &[ColumnarValue]| {
        let rows = rows_of(arguments);
        let columns: Vec<ArrayRef> = arguments.iter().map(|argument| argument.to_array(rows)).collect::<Result<_>>()?;
        answer(arguments, Arc::new(texts(&columns)))
    };
    create_udf(name, arguments, DataType::Utf8View, Volatility::Immutable, Arc::new(texts))
}

/// What stands under a key in a JSON object, read no further than to it.
fn value_under(key: &str, object: &str) -> Option<String> {
    let mut found = None;
    // What follows the value may be anything: it is not read.
    serde_json::Deserializer::from_str(object).deserialize_map(Under { key, found: &mut found }).ok();
    match found? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

struct Under<'a> {
    key: &'a str,
    found: &'a mut Option<Value>,
}

impl<'de> Visitor<'de> for Under<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut object: M) -> std::result::Result<(), M::Error> {
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            if key == self.key {
                *self.found = Some(object.next_value()?);
                return Ok(());
            }
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

fn rows_of(arguments: &[ColumnarValue]) -> usize {
    let lengths = arguments.iter().filter_map(|argument| match argument {
        ColumnarValue::Array(array) => Some(array.len()),
        ColumnarValue::Scalar(_) => None,
    });
    lengths.max().unwrap_or(1)
}

/// One value where all arguments were one value: the planner then computes it once.
fn answer(arguments: &[ColumnarValue], found: ArrayRef) -> Result<ColumnarValue> {
    let constant = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?) } else { ColumnarValue::Array(found) })
}
