//! Answers as JSON, for scripts.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use stoa_core::metric::{Point, Series, SeriesSummary};

/// A value as indented JSON, the fields in the order of their declaration.
///
/// # Errors
/// A map whose keys are not strings cannot be written.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value)
}

/// Series as indented JSON. JSON has no word for what is not finite: such values are the strings `"NaN"`, `"Infinity"` and
/// `"-Infinity"`, as in the JSON form of Protocol Buffers.
pub fn series_to_json(series: &[Series]) -> String {
    let list: Vec<JsonSeries<'_>> = series.iter().map(JsonSeries).collect();
    serde_json::to_string_pretty(&list).expect("only strings are keys")
}

struct JsonSeries<'a>(&'a Series);
struct JsonSummary<'a>(&'a SeriesSummary);
struct JsonPoint(Point);
struct JsonNumber(f64);

impl Serialize for JsonSeries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Series", 2)?;
        object.serialize_field("summary", &JsonSummary(&self.0.summary))?;
        object.serialize_field("points", &self.0.points.iter().copied().map(JsonPoint).collect::<Vec<_>>())?;
        object.end()
    }
}

impl Serialize for JsonSummary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SeriesSummary { name, origin, count, non_finite, min, max, last } = self.0;
        let mut object = serializer.serialize_struct("SeriesSummary", 7)?;
        object.serialize_field("name", name)?;
        object.serialize_field("origin", origin)?;
        object.serialize_field("count", count)?;
        object.serialize_field("non_finite", non_finite)?;
        object.serialize_field("min", &min.map(JsonNumber))?;
        object.serialize_field("max", &max.map(JsonNumber))?;
        object.serialize_field("last", &last.map(JsonPoint))?;
        object.end()
    }
}

impl Serialize for JsonPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Point", 3)?;
        object.serialize_field("step", &self.0.step)?;
        object.serialize_field("time", &self.0.time)?;
        object.serialize_field("value", &JsonNumber(self.0.value))?;
        object.end()
    }
}

impl Serialize for JsonNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::series;

    #[test]
    fn what_is_not_finite_is_kept_as_words() {
        let loss = series("loss", &[1.0, f64::NAN, f64::NEG_INFINITY]);
        let text = series_to_json(std::slice::from_ref(&loss));
        assert!(
            text.contains("\"value\": 1.0") && text.contains("\"NaN\"") && text.contains("\"-Infinity\""),
            "{text}"
        );
        let order = ["summary", "name", "origin", "count", "last", "points"].map(|key| text.find(key).unwrap());
        assert!(order.is_sorted(), "{text}");
    }
}
