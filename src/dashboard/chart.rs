//! Small charts as SVG: bars, drawn by the server, with their words for who cannot see them.

use std::fmt::Write;

use askama::filters::Safe;

/// Bars of equal width, one a value.
#[derive(Clone, Copy, Debug)]
pub struct Bars<'v> {
    pub values: &'v [i64],
    /// What a screen reader says and a pointer shows: "148 events in 24 hours".
    pub label: &'v str,
    /// In CSS pixels.
    pub width: u32,
    pub height: u32,
    /// Stretched over its container's width.
    pub wide: bool,
    /// The class of the bars: "" (grey), "hot" (pink), "live" (cyan).
    pub tone: &'static str,
}

/// A row's sparkline.
pub fn spark(values: &[i64], label: &str, hot: bool) -> Safe<String> {
    let tone = if hot { "hot" } else { "" };
    Bars { values, label, width: 116, height: 28, wide: false, tone }.svg()
}

impl Bars<'_> {
    #[expect(clippy::cast_precision_loss, reason = "pixels need no more")]
    pub fn svg(&self) -> Safe<String> {
        let Self { width, height, tone, .. } = *self;
        let label = escaped(self.label);
        let most = self.values.iter().copied().max().unwrap_or(0).max(1) as f64;
        let step = f64::from(width) / self.values.len().max(1) as f64;
        let bar = (step * 0.7).max(0.5);
        let size = if self.wide {
            format!("class=\"spark wide\" preserveAspectRatio=\"none\" height=\"{height}\"")
        } else {
            format!("class=\"spark\" width=\"{width}\" height=\"{height}\"")
        };
        let mut text = format!(
            "<svg {size} viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\"><title>{label}</title>"
        );
        for (index, value) in self.values.iter().enumerate() {
            let tall =
                if *value <= 0 { 1.5 } else { (*value as f64 / most * f64::from(height)).max(2.0) };
            let class = if *value <= 0 { "none" } else { tone };
            let _ = write!(
                text,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{tall:.1}\" rx=\"1\"/>",
                index as f64 * step,
                f64::from(height) - tall,
            );
        }
        text.push_str("</svg>");
        Safe(text)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::spark;

    #[test]
    fn a_bar_a_value() {
        let text = spark(&[0, 1, 4], "5 events <in> \"3\" h", true).0;
        assert_eq!(text.matches("<rect").count(), 3);
        assert_eq!(text.matches("class=\"hot\"").count(), 2);
        assert!(text.contains("aria-label=\"5 events &lt;in&gt; &quot;3&quot; h\""), "{text}");
        assert!(spark(&[], "nothing", false).0.ends_with("</svg>"));
    }
}
