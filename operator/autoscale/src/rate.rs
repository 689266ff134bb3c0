//! Slopes.

/// Slope of the straight line through these points by least squares. None if they do not differ in x.
pub fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let (count, x, y) = points
        .clone()
        .fold((0.0, 0.0, 0.0), |(n, sx, sy), (x, y)| (n + 1.0, sx + x, sy + y));
    if count < 2.0 {
        return None;
    }
    let (x, y) = (x / count, y / count);
    let (with_y, with_x) = points.fold((0.0, 0.0), |(xy, xx), (px, py)| {
        (xy + (px - x) * (py - y), xx + (px - x) * (px - x))
    });
    (with_x > 0.0).then(|| with_y / with_x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_lines_are_exact_and_of_too_little_unknown() {
        let line = [(0.0, 7.0), (5.0, 17.0), (10.0, 27.0), (11.0, 29.0)];
        assert_eq!(slope(line.into_iter()), Some(2.0));
        assert_eq!(slope([(1.0, 7.0)].into_iter()), None);
        assert_eq!(slope([(1.0, 7.0), (1.0, 8.0)].into_iter()), None);
        assert_eq!(slope([].into_iter()), None);
    }
}
