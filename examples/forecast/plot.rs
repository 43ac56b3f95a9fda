//! The two pictures.

use crate::picture::{self, Area};
use crate::series::Series;
use bptt::train::History;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

const TRUTH: RGBColor = RGBColor(60, 60, 60);
const ONE_STEP: RGBColor = RGBColor(214, 96, 0);
const FREE: RGBColor = RGBColor(0, 96, 186);

type Points = Vec<(f64, f64)>;

/// The axis of some points, with a margin: never empty and never so short, for the size of its numbers, that plotters counts its marks
/// for ever.
fn span<'a>(points: impl Iterator<Item = &'a (f64, f64)>, of: fn((f64, f64)) -> f64) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for number in points.map(|point| of(*point)) {
        (low, high) = (low.min(number), high.max(number));
    }
    if low > high {
        return 0.0..1.0;
    }
    let margin = (0.05 * (high - low)).max(1e-6 * low.abs().max(high.abs()).max(1.0));
    low - margin..high + margin
}

/// The points that can be drawn.
fn finite(points: impl Iterator<Item = (f64, f64)>) -> Points {
    points.filter(|(_, y)| y.is_finite()).collect()
}

/// Above: the test span and its one-step forecasts. Below: the end of the series and the free-running forecast past it.
pub fn forecast(
    path: &Path,
    series: &Series,
    test: usize,
    predicted: &[f32],
    free: &[f32],
) -> Result<(), String> {
    let draw = |root: &Area<'_>| -> Result<(), Box<dyn std::error::Error>> {
        let panels = root.split_evenly((2, 1));
        let points = |first: usize, values: &[f32]| -> Points {
            let point = |(i, value): (usize, &f32)| (series.time(first + i), f64::from(*value));
            finite(values.iter().enumerate().map(point))
        };
        let end = series.values.len();
        let title = format!("{}: test span, one step ahead", series.column);
        let lines = [
            ("true", TRUTH, points(test, &series.values[test..])),
            ("predicted", ONE_STEP, points(test, predicted)),
        ];
        panel(&panels[0], &title, series.time_label, &lines)?;
        // About as much of the past as of the future.
        let past = end - free.len().min(end);
        let title = format!(
            "{}: {} steps ahead, each from those before it",
            series.column,
            free.len()
        );
        let lines = [
            ("true", TRUTH, points(past, &series.values[past..])),
            ("free-running", FREE, points(end, free)),
        ];
        panel(&panels[1], &title, series.time_label, &lines)?;
        Ok(())
    };
    picture::write(path, (1200, 800), draw)
        .map_err(|reason| format!("{}: {reason}", path.display()))
}

/// Training and validation loss by epoch.
pub fn loss(path: &Path, history: &History) -> Result<(), String> {
    let draw = |root: &Area<'_>| -> Result<(), Box<dyn std::error::Error>> {
        let of = |value: fn(&bptt::train::Epoch) -> Option<f64>| -> Points {
            let epochs = history.epochs.iter();
            finite(epochs.filter_map(|epoch| Some((epoch.number as f64, value(epoch)?))))
        };
        let lines = [
            ("training", ONE_STEP, of(|epoch| Some(epoch.loss))),
            ("validation", FREE, of(|epoch| epoch.validation)),
        ];
        let losses = span(lines.iter().flat_map(|(_, _, points)| points), |(_, y)| y);
        let last = history.epochs.len().max(2) as f64;
        let mut chart = ChartBuilder::on(root)
            .caption(
                "Mean squared error of the scaled change",
                ("sans-serif", 22),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(1.0..last, losses)?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 15))
            .draw()?;
        for (label, color, points) in &lines {
            let color = *color;
            chart
                .draw_series(LineSeries::new(
                    points.iter().copied(),
                    color.stroke_width(2),
                ))?
                .label(*label)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2))
                });
        }
        legend(&mut chart)?;
        Ok(())
    };
    picture::write(path, (900, 500), draw).map_err(|reason| format!("{}: {reason}", path.display()))
}

fn panel(
    area: &Area<'_>,
    title: &str,
    x_label: &str,
    lines: &[(&str, RGBColor, Points)],
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || lines.iter().flat_map(|(_, _, points)| points);
    let (times, values) = (span(all(), |(x, _)| x), span(all(), |(_, y)| y));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(times, values)?;
    chart
        .configure_mesh()
        .x_desc(x_label)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(WHITE)
        .label_style(("sans-serif", 15))
        .draw()?;
    for (label, color, points) in lines {
        let color = *color;
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(1),
            ))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    legend(&mut chart)?;
    Ok(())
}

fn legend<'a, Y: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, BitMapBackend<'a>, Cartesian2d<RangedCoordf64, Y>>,
) -> Result<(), Box<dyn std::error::Error>> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 16))
        .draw()
        .map_err(|reason| reason.to_string().into())
}
