//! Plots as SVG, drawn by plotters, in colours that follow the page: light or dark.
//!
//! plotters knows only fixed colours, so each role is drawn in a colour that stands for it, and the finished text has that
//! colour replaced by a variable of the page's style sheet.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// One line of a plot.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What stands on the axes.
pub(crate) struct Axes<'a> {
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Both even, from zero.
    Linear,
    /// Both even, the level one by whole rounds.
    Rounds,
    /// The upright axis in powers of ten.
    LogY,
    /// Percentiles: the level axis in powers of ten of what is left to 100 %, the upright one too.
    Percentile,
}

const SIZE: (u32, u32) = (640, 400);
const FONT: &str = "sans-serif";
/// As many colours as the style sheet has series.
pub(crate) const COLOURS: usize = 8;

/// Stands for a role until the text is finished; no other colour is used.
const fn role(number: u8) -> RGBColor {
    RGBColor(1, 2, number)
}

const INK: RGBColor = role(100);
const FAINT: RGBColor = role(101);

pub(crate) fn lines(axes: &Axes<'_>, series: &[Series]) -> Result<String, String> {
    let all = series.iter().flat_map(|line| &line.points);
    let (x_most, y_least, y_most) = all.fold((0.0_f64, f64::INFINITY, 0.0_f64), |(x, low, high), point| {
        (x.max(point.0), low.min(point.1), high.max(point.1))
    });
    if y_most <= 0.0 {
        return Ok(String::new());
    }
    let low = 10_f64.powf(y_least.max(y_most / 1e7).max(1e-3).log10().floor());
    let high = 10_f64.powf(y_most.log10().ceil()).max(low * 10.0);
    let drawn = match axes.scale {
        Scale::Linear => draw(axes, series, 0.0..x_most * 1.02, 0.0..y_most * 1.1),
        Scale::Rounds => draw(axes, series, 0.5..x_most + 0.5, 0.0..y_most * 1.1),
        Scale::LogY => draw(axes, series, 0.0..x_most * 1.02, (low..high).log_scale()),
        Scale::Percentile => draw(axes, series, (1.0..x_most.max(10.0)).log_scale(), (low..high).log_scale()),
    };
    let names: Vec<&str> = series.iter().map(|line| line.name.as_str()).collect();
    let label = format!("{} by {}: {}", axes.y, axes.x, names.join(", "));
    drawn.map(|svg| coloured(&svg, &label)).map_err(|error| format!("plotting: {error}"))
}

fn draw<X, Y>(axes: &Axes<'_>, series: &[Series], x: X, y: Y) -> Result<String, Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(30)
            .x_label_area_size(60)
            .y_label_area_size(92)
            .build_cartesian_2d(x, y)?;
        let percentile = |odds: &f64| percentile_of(*odds);
        let plain = |number: &f64| short(*number);
        let whole = |number: &f64| if number.fract() == 0.0 { short(*number) } else { String::new() };
        let mut mesh = chart.configure_mesh();
        mesh.axis_style(FAINT)
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 22, &INK))
            .axis_desc_style((FONT, 22, &INK))
            .x_desc(axes.x)
            .y_desc(axes.y)
            .x_labels(6)
            .y_labels(6)
            .y_label_formatter(&plain);
        match axes.scale {
            Scale::Percentile => mesh.x_label_formatter(&percentile).draw()?,
            Scale::Rounds => mesh.x_label_formatter(&whole).draw()?,
            _ => mesh.x_label_formatter(&plain).draw()?,
        }
        for (at, line) in series.iter().enumerate() {
            let colour = role(u8::try_from(at % COLOURS)?);
            let points = line.points.iter().copied();
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            if line.points.len() < 30 {
                chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

/// 1 in 1 is 0 %, 1 in 10 is 90 %, 1 in 1,000 is 99.9 %.
fn percentile_of(odds: f64) -> String {
    // Two nines need no decimals, each further one needs one.
    let decimals = (3..=7).take_while(|nines| odds >= 0.99 * 10_f64.powi(*nines)).count();
    format!("{:.decimals$}%", 100.0 - 100.0 / odds)
}

/// A number in few letters: 1.5k, 20M.
fn short(number: f64) -> String {
    let (number, unit) = match number.abs() {
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e3 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = if number.abs() < 10.0 { format!("{number:.2}") } else { format!("{number:.1}") };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text.is_empty() { "0" } else { text })
}

/// Puts variables of the style sheet in the place of the colours that stand for them, lets the page decide the width, and says in
/// words what is shown, to those who cannot see it.
fn coloured(svg: &str, label: &str) -> String {
    let named = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let mut text = svg.replace(&named(INK), "var(--ink)").replace(&named(FAINT), "var(--faint)");
    for series in 0..COLOURS {
        let number = u8::try_from(series).expect("a handful");
        text = text.replace(&named(role(number)), &format!("var(--s{series})"));
    }
    let (width, height) = SIZE;
    text.replacen(
        &format!("width=\"{width}\" height=\"{height}\""),
        &format!("role=\"img\" aria-label=\"{}\"", super::html::escaped(label)),
        1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale) -> String {
        let line = Series { name: "one".to_owned(), points: vec![(1.0, 100.0), (10.0, 200.0), (1000.0, 9000.0)] };
        lines(&Axes { x: "time", y: "us", scale }, &[line]).unwrap()
    }

    #[test]
    fn every_colour_is_a_variable_of_the_page() {
        for scale in [Scale::Linear, Scale::Rounds, Scale::LogY, Scale::Percentile] {
            let svg = plot(scale);
            assert!(svg.contains("var(--s0)") && svg.contains("var(--ink)") && !svg.contains("#0102"), "{svg}");
            assert!(svg.contains("viewBox") && !svg.contains("width=\"640\" height=\"400\" viewBox"), "{svg}");
        }
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([1.0, 10.0, 1000.0, 1e5].map(percentile_of), ["0%", "90%", "99.9%", "99.999%"]);
        assert_eq!([0.0, 0.25, 12.0, 100.0, 1500.0, 2e7].map(short), ["0", "0.25", "12", "100", "1.5k", "20M"]);
    }

    #[test]
    fn nothing_to_show_is_no_plot() {
        assert_eq!(lines(&Axes { x: "", y: "", scale: Scale::LogY }, &[]).unwrap(), "");
    }
}
