//! JSON's forms of values.

pub(crate) use event::json_text::push_string;

/// A number as JSON has it; it must be finite.
pub(crate) fn float(number: f64) -> String {
    serde_json::Number::from_f64(number).expect("the caller has checked that it is finite").to_string()
}
