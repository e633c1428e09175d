//! Prometheus' text format.

use std::fmt::{Display, Write};

use super::catalogue::{Family, Kind};

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that metrics are written to.
#[derive(Debug, Default)]
pub struct Text(String);

/// The series of one family, being written.
#[derive(Debug)]
pub struct Series<'t> {
    text: &'t mut String,
    family: &'t Family,
}

impl Text {
    /// A family of one series without labels.
    pub fn one(&mut self, family: &Family, value: impl Display) {
        self.family(family).add(&[], value);
    }

    /// Begins a family. Each is to be begun once.
    pub fn family<'t>(&'t mut self, family: &'t Family) -> Series<'t> {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Family { name, help, .. } = family;
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Series { text: &mut self.0, family }
    }

    /// A histogram. There is one bucket more than bounds: for what is beyond the last.
    pub fn histogram(&mut self, family: &Family, bounds: &[f64], buckets: &[u64], sum: f64) {
        self.family(family);
        let name = family.name;
        let mut total = 0;
        for (place, count) in buckets.iter().enumerate() {
            total += count;
            let bound = bounds.get(place).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let _ = write!(self.0, "{name}_sum {sum}\n{name}_count {total}\n");
    }

    /// All of it.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Series<'_> {
    /// One series: the values of the family's labels, in their order.
    pub fn add(&mut self, labels: &[&str], value: impl Display) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        self.text.push_str(self.family.name);
        for (place, (name, value)) in self.family.labels.iter().zip(labels).enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", Escaped(value));
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// A label's value: operators choose the names of sites, and ends of lines in them must not begin a line here.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod strict;
