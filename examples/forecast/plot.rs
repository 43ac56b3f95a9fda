//! The two pictures.

use crate::series::Series;
use bptt::train::History;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::path::Path;

const TRUTH: RGBColor = RGBColor(60, 60, 60);
const ONE_STEP: RGBColor = RGBColor(214, 96, 0);
const FREE: RGBColor = RGBColor(0, 96, 186);

type Points = Vec<(f64, f64)>;

fn fonts() -> Result<(), String> {
    // Drawn with a font that comes with the program, so that no font library is needed.
    let font = epaint_default_fonts::UBUNTU_LIGHT;
    plotters::style::register_font("sans-serif", FontStyle::Normal, font)
        .map_err(|_| "the font is damaged".to_owned())
}

/// Above: the test span and its one-step forecasts. Below: the end of the series and the free-running forecast past it.
pub fn forecast(
    path: &Path,
    series: &Series,
    test: usize,
    predicted: &[f32],
    free: &[f32],
) -> Result<(), String> {
    fonts()?;
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        let root = BitMapBackend::new(path, (1200, 800)).into_drawing_area();
        root.fill(&WHITE)?;
        let panels = root.split_evenly((2, 1));
        let points = |first: usize, values: &[f32]| -> Points {
            values
                .iter()
                .enumerate()
                .map(|(i, value)| (series.time(first + i), f64::from(*value)))
                .collect()
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
        root.present()?;
        Ok(())
    };
    draw().map_err(|reason| format!("{}: {reason}", path.display()))
}

/// Training and validation loss by epoch.
pub fn loss(path: &Path, history: &History) -> Result<(), String> {
    fonts()?;
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        let root = BitMapBackend::new(path, (900, 500)).into_drawing_area();
        root.fill(&WHITE)?;
        let of = |value: fn(&bptt::train::Epoch) -> Option<f64>| -> Points {
            history
                .epochs
                .iter()
                .filter_map(|epoch| Some((epoch.number as f64, value(epoch)?)))
                .collect()
        };
        let lines = [
            ("training", ONE_STEP, of(|epoch| Some(epoch.loss))),
            ("validation", FREE, of(|epoch| epoch.validation)),
        ];
        let values = || {
            lines
                .iter()
                .flat_map(|(_, _, points)| points)
                .map(|(_, y)| *y)
                .filter(|y| *y > 0.0)
        };
        let (low, high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(0.0, f64::max),
        );
        let last = history.epochs.len().max(2) as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "Mean squared error of the scaled change",
                ("sans-serif", 22),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(1.0..last, low * 0.95..high * 1.05)?;
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
        root.present()?;
        Ok(())
    };
    draw().map_err(|reason| format!("{}: {reason}", path.display()))
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

fn panel(
    area: &Area<'_>,
    title: &str,
    x_label: &str,
    lines: &[(&str, RGBColor, Points)],
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || lines.iter().flat_map(|(_, _, points)| points);
    let low = all().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let high = all().map(|(_, y)| *y).fold(f64::NEG_INFINITY, f64::max);
    let first = all().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let last = all().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
    let margin = 0.05 * (high - low).max(1e-6);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(first..last, (low - margin).min(low)..high + margin)?;
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
