//! The picture: time against each size, log-log, with the local slope at each point.

use super::picture::{self, Area};
use super::{Point, line, slopes};
use plotters::prelude::*;
use std::path::Path;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const PHASES: [(&str, &str, RGBColor); 2] = [
    ("infer", "forward", RGBColor(0, 96, 186)),
    ("train", "training step", RGBColor(214, 96, 0)),
];

/// A panel for each size (its letter and name).
pub fn draw(path: &Path, sizes: &[(&str, &str)], points: &[Point]) -> Outcome {
    picture::write(path, (1040, 780), |root| {
        for (area, (size, name)) in root.split_evenly((2, 2)).iter().zip(sizes) {
            panel(area, size, name, points)?;
        }
        Ok(())
    })
}

fn panel(area: &Area<'_>, size: &str, name: &str, points: &[Point]) -> Outcome {
    let lines = PHASES.map(|(phase, label, color)| (line(points, size, phase), label, color));
    let all = || lines.iter().flat_map(|(line, ..)| line);
    let (Some(first), Some(last)) = (
        all().map(|point| point.value).min(),
        all().map(|point| point.value).max(),
    ) else {
        return Ok(());
    };
    let times = || all().map(|point| point.milliseconds);
    let (low, high) = (
        times().fold(f64::INFINITY, f64::min),
        times().fold(0.0, f64::max),
    );
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (first as f64 / 1.15..last as f64 * 1.3)
                .log_scale()
                .base(2.0),
            (low / 2.0..high * 2.0).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(name)
        .y_desc("ms")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y}"))
        .light_line_style(WHITE)
        .label_style(("sans-serif", 15))
        .draw()?;
    for (line, label, color) in &lines {
        let color = *color;
        let at = |point: &Point| (point.value as f64, point.milliseconds);
        let path = line.iter().map(|point| at(point));
        chart
            .draw_series(LineSeries::new(path.clone(), color.stroke_width(2)))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        chart.draw_series(path.map(|at| Circle::new(at, 3, color.filled())))?;
        // Above the upper line, below the lower one.
        let offset = if *label == PHASES[0].1 { 9 } else { -20 };
        let style = ("sans-serif", 14).into_font().color(&color);
        let texts = line.iter().zip(slopes(line)).map(|(point, slope)| {
            EmptyElement::at(at(point))
                + Text::new(format!("{slope:.2}"), (-10, offset), style.clone())
        });
        chart.draw_series(texts)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 16))
        .draw()?;
    Ok(())
}
