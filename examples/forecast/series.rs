//! A column of a CSV file, and its scale.

use bptt::data::Standardizer;
use std::path::Path;

pub struct Series {
    pub column: String,
    pub values: Vec<f32>,
    /// Where each value is on the time axis: the year, where the first column is `YYYY-MM`; else the row.
    pub times: Vec<f64>,
    pub time_label: &'static str,
}

impl Series {
    /// Reads a column (the last, where none is named). Errors name the file, and the row by its line.
    pub fn read(path: &Path, column: Option<&str>) -> Result<Self, String> {
        let name = path.display();
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|reason| format!("{name}: {reason}"))?;
        let headers = reader
            .headers()
            .map_err(|reason| format!("{name}: {reason}"))?
            .clone();
        let index = match column {
            None => headers
                .len()
                .checked_sub(1)
                .ok_or_else(|| format!("{name}: no columns"))?,
            Some(column) => headers
                .iter()
                .position(|header| header == column)
                .ok_or_else(|| {
                    let known: Vec<&str> = headers.iter().collect();
                    format!("{name}: no column {column:?}, only {}", known.join(", "))
                })?,
        };
        let mut series = Self {
            column: headers[index].to_owned(),
            values: vec![],
            times: vec![],
            time_label: "year",
        };
        for record in reader.records() {
            let record = record.map_err(|reason| format!("{name}: {reason}"))?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = &record[index];
            let value = field
                .parse::<f32>()
                .ok()
                .filter(|value| value.is_finite())
                .ok_or_else(|| {
                    format!(
                        "{name}, line {line}: {} is {field:?}, expected a number",
                        series.column
                    )
                })?;
            series.values.push(value);
            series.times.extend(year(&record[0]));
        }
        if series.times.len() != series.values.len() {
            series.times = (0..series.values.len()).map(|row| row as f64).collect();
            series.time_label = "row";
        }
        Ok(series)
    }

    /// The time of the n-th value, past the end too.
    pub fn time(&self, index: usize) -> f64 {
        let last = self.times.len() - 1;
        let step = (self.times[last] - self.times[0]) / last.max(1) as f64;
        self.times
            .get(index)
            .copied()
            .unwrap_or(self.times[last] + (index - last.min(index)) as f64 * step)
    }
}

/// `1749-01` as 1749.04: the middle of the month.
fn year(month: &str) -> Option<f64> {
    let (year, month) = month.split_once('-')?;
    let (year, month) = (year.parse::<u16>().ok()?, month.parse::<u8>().ok()?);
    let middle = f64::from(year) + (f64::from(month) - 0.5) / 12.0;
    (1..=12).contains(&month).then_some(middle)
}

/// The scale the network works in: standardised square roots of counts, whose noise grows with their size; where there are
/// negative values, the standardised values themselves.
#[derive(Clone, Copy)]
pub struct Scale {
    counts: bool,
    standard: Standardizer,
}

impl Scale {
    pub fn fit(values: &[f32]) -> bptt::Result<Self> {
        let counts = values.iter().all(|value| *value >= 0.0);
        let values: ndarray::Array1<f32> = values
            .iter()
            .map(|value| if counts { value.sqrt() } else { *value })
            .collect();
        Ok(Self {
            counts,
            standard: Standardizer::fit(&values)?,
        })
    }

    pub fn apply(&self, value: f32) -> f32 {
        self.standard.apply(if self.counts {
            value.max(0.0).sqrt()
        } else {
            value
        })
    }

    /// Back. A forecast of a square root with variance v is a forecast of the square plus v.
    pub fn invert(&self, scaled: f32, variance: f32) -> f32 {
        let value = self.standard.invert(scaled);
        if self.counts {
            value.max(0.0).powi(2) + variance * self.standard.deviation.powi(2)
        } else {
            value
        }
    }

    /// What 0 counts are on the scale.
    pub fn zero(&self) -> f32 {
        self.standard.apply(0.0)
    }
}
