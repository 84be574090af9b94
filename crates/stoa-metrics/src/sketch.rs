//! A series in bounded memory: every point while there are few, then blocks with their extremes.
//!
//! A block keeps the first, last, smallest and largest of its points, and one NaN and one infinity of either sign where
//! it has any. When there are too many blocks, neighbours are joined, so a curve of any length has a bounded size and
//! no spike of it vanishes.

use stoa_core::metric::Point;

/// Points of a block when the first blocks are made.
const FIRST_STRIDE: u64 = 8;

/// How often another number of buckets is tried; two are usually enough.
const TRIES: usize = 6;

/// One series.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sketch {
    exact: Vec<Point>,
    blocks: Vec<Block>,
    /// Points per block; 0 while `exact` holds every point.
    stride: u64,
    pub(crate) count: u64,
    pub(crate) non_finite: u64,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) last: Option<Point>,
}

#[derive(Debug, Clone)]
struct Block {
    first: Point,
    last: Point,
    /// Smallest and largest finite point; of no meaning while `finite` is false.
    min: Point,
    max: Point,
    finite: bool,
    count: u64,
    odd: Option<Box<[Option<Point>; 3]>>,
}

impl Sketch {
    /// Adds a point; keeps at most about `cap` points in memory.
    pub(crate) fn push(&mut self, point: Point, cap: usize) {
        self.count += 1;
        if point.value.is_finite() {
            self.min = Some(self.min.map_or(point.value, |min| min.min(point.value)));
            self.max = Some(self.max.map_or(point.value, |max| max.max(point.value)));
        } else {
            self.non_finite += 1;
        }
        if self.last.is_none_or(|last| (last.step, last.time) <= (point.step, point.time)) {
            self.last = Some(point);
        }
        if self.stride == 0 {
            self.exact.push(point);
            if self.exact.len() > cap {
                self.shrink(cap);
            }
            return;
        }
        match self.blocks.last_mut() {
            Some(block) if block.count < self.stride => block.add(point),
            _ => {
                self.blocks.push(Block::new(point));
                if self.blocks.len() > max_blocks(cap) {
                    self.shrink(cap);
                }
            }
        }
    }

    /// Makes the series fit into about `cap` points, if it does not.
    pub(crate) fn shrink(&mut self, cap: usize) {
        if self.stride == 0 && self.exact.len() > cap {
            self.stride = FIRST_STRIDE;
            self.blocks.reserve_exact(max_blocks(cap) + 1);
            for point in std::mem::take(&mut self.exact) {
                match self.blocks.last_mut() {
                    Some(block) if block.count < FIRST_STRIDE => block.add(point),
                    _ => self.blocks.push(Block::new(point)),
                }
            }
        }
        while self.stride != 0 && self.blocks.len() > max_blocks(cap) {
            self.stride *= 2;
            let mut joined: Vec<Block> = Vec::with_capacity(max_blocks(cap) + 1);
            for block in self.blocks.drain(..) {
                match joined.last_mut() {
                    Some(before) if before.count + block.count <= self.stride => before.join(&block),
                    _ => joined.push(block),
                }
            }
            self.blocks = joined;
        }
    }

    /// Whether every point is still there.
    pub(crate) fn is_exact(&self) -> bool {
        self.stride == 0
    }

    /// How many points it holds in memory, about.
    pub(crate) fn weight(&self) -> usize {
        self.exact.capacity() + 5 * self.blocks.capacity()
    }

    /// Appends the points it kept, in the order they came in.
    pub(crate) fn kept(&self, out: &mut Vec<Point>) {
        out.extend_from_slice(&self.exact);
        for block in &self.blocks {
            block.kept(out);
        }
    }
}

fn max_blocks(cap: usize) -> usize {
    (cap / 4).max(2)
}

impl Block {
    fn new(point: Point) -> Self {
        let mut block = Self { first: point, last: point, min: point, max: point, finite: false, count: 0, odd: None };
        block.add(point);
        block
    }

    fn add(&mut self, point: Point) {
        self.last = point;
        self.count += 1;
        if !point.value.is_finite() {
            self.add_odd(point);
        } else if !self.finite {
            (self.min, self.max, self.finite) = (point, point, true);
        } else if point.value < self.min.value {
            self.min = point;
        } else if point.value > self.max.value {
            self.max = point;
        }
    }

    fn add_odd(&mut self, point: Point) {
        let odd = self.odd.get_or_insert_default();
        odd[odd_slot(point.value)].get_or_insert(point);
    }

    fn join(&mut self, later: &Self) {
        self.last = later.last;
        self.count += later.count;
        if later.finite {
            if !self.finite || later.min.value < self.min.value {
                self.min = later.min;
            }
            if !self.finite || later.max.value > self.max.value {
                self.max = later.max;
            }
            self.finite = true;
        }
        for point in later.odd.iter().flat_map(|odd| odd.iter()).flatten() {
            self.add_odd(*point);
        }
    }

    fn kept(&self, out: &mut Vec<Point>) {
        let start = out.len();
        let extremes = self.finite.then_some([self.min, self.max]);
        let odd = self.odd.iter().flat_map(|odd| odd.iter()).flatten().copied();
        let inner = extremes.into_iter().flatten().chain(odd).chain([self.last]);
        out.push(self.first);
        for point in inner {
            if !out[start..].iter().any(|known| same(known, &point)) {
                out.push(point);
            }
        }
        out[start..].sort_by_key(|point| (point.step, point.time));
    }
}

fn same(a: &Point, b: &Point) -> bool {
    a.step == b.step && a.time == b.time && a.value.to_bits() == b.value.to_bits()
}

/// 0 for NaN, 1 for infinity, 2 for minus infinity.
fn odd_slot(value: f64) -> usize {
    match value {
        f64::INFINITY => 1,
        f64::NEG_INFINITY => 2,
        _ => 0,
    }
}

/// At most `max` of `points` (in the order of their steps): of every bucket the first, last, smallest and largest, and
/// a NaN and infinities where it has them. The buckets hold equal numbers of points.
pub(crate) fn downsample(points: &[Point], max: usize) -> Vec<Point> {
    if points.len() <= max {
        return points.to_vec();
    }
    if max < 8 {
        return essentials(points, max);
    }
    // A bucket has 1 to 7 points that matter; more buckets are tried as long as that fills up the answer.
    let mut buckets = max / 4;
    let mut best = None;
    for _ in 0..TRIES {
        let kept = of_buckets(points, buckets);
        let next = buckets * max / kept.len().max(1);
        if kept.len() <= max {
            let full = kept.len() * 10 >= max * 9 || next <= buckets;
            best = Some(kept);
            if full {
                break;
            }
            // A little less than what would just fit.
            buckets = next - next / 32;
        } else if best.is_some() || buckets == 1 {
            break;
        } else {
            buckets = next.clamp(1, buckets - 1);
        }
    }
    best.unwrap_or_else(|| essentials(points, max))
}

fn of_buckets(points: &[Point], buckets: usize) -> Vec<Point> {
    let mut kept = Vec::new();
    for bucket in 0..buckets {
        let part = &points[bucket * points.len() / buckets..(bucket + 1) * points.len() / buckets];
        keep_of_bucket(part, &mut kept);
    }
    kept
}

/// The indices of a bucket that matter, in order.
fn keep_of_bucket(part: &[Point], out: &mut Vec<Point>) {
    let mut indices = important(part);
    indices.sort_unstable();
    indices.dedup();
    out.extend(indices.into_iter().map(|index| part[index]));
}

/// Last, first, largest, smallest, then one of each that is not finite: the order of importance.
fn important(part: &[Point]) -> Vec<usize> {
    if part.is_empty() {
        return Vec::new();
    }
    let (mut min, mut max, mut odd) = (None, None, [None; 3]);
    for (index, point) in part.iter().enumerate() {
        if !point.value.is_finite() {
            odd[odd_slot(point.value)].get_or_insert(index);
            continue;
        }
        if min.is_none_or(|at: usize| point.value < part[at].value) {
            min = Some(index);
        }
        if max.is_none_or(|at: usize| point.value > part[at].value) {
            max = Some(index);
        }
    }
    [Some(part.len() - 1), Some(0), max, min].into_iter().chain(odd).flatten().collect()
}

fn essentials(points: &[Point], max: usize) -> Vec<Point> {
    let mut chosen: Vec<usize> = Vec::new();
    for index in important(points) {
        if chosen.len() < max && !chosen.contains(&index) {
            chosen.push(index);
        }
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|index| points[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(values: &[f64]) -> Vec<Point> {
        (0..).zip(values).map(|(step, value)| Point { step, time: step as u64, value: *value }).collect()
    }

    fn sketch(points: &[Point], cap: usize) -> (Sketch, Vec<Point>) {
        let mut sketch = Sketch::default();
        points.iter().for_each(|point| sketch.push(*point, cap));
        let mut kept = Vec::new();
        sketch.kept(&mut kept);
        (sketch, kept)
    }

    fn has(points: &[Point], wanted: f64) -> bool {
        points.iter().any(|point| point.value.to_bits() == wanted.to_bits())
    }

    #[test]
    fn few_points_are_all_kept() {
        let points = series(&[3.0, f64::NAN, -1.0]);
        let (sketch, kept) = sketch(&points, 16);
        assert!(sketch.is_exact());
        assert_eq!(kept.len(), 3);
        assert_eq!((sketch.count, sketch.non_finite, sketch.min, sketch.max), (3, 1, Some(-1.0), Some(3.0)));
    }

    #[test]
    fn a_million_points_stay_small_and_no_spike_vanishes() {
        let mut values: Vec<f64> = (0..1_000_000).map(|i| f64::from(i % 100)).collect();
        (values[123_456], values[777_777], values[500_000]) = (1e9, -1e9, f64::NAN);
        (values[500_001], values[500_002]) = (f64::INFINITY, f64::NEG_INFINITY);
        let (sketch, kept) = sketch(&series(&values), 1024);
        assert!(sketch.weight() < 4096 && kept.len() < 1400, "{} {}", sketch.weight(), kept.len());
        let shown = downsample(&kept, 100);
        assert!(shown.len() <= 100);
        for wanted in [0.0, 99.0, 1e9, -1e9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(has(&kept, wanted) && has(&shown, wanted), "{wanted}");
        }
        assert_eq!((shown[0].step, shown[shown.len() - 1].step), (0, 999_999));
    }

    #[test]
    fn a_handful_of_points_is_the_most_important_ones() {
        let points = series(&[5.0, 9.0, 1.0, f64::NAN, 4.0]);
        let steps = |max| downsample(&points, max).iter().map(|point| point.step).collect::<Vec<_>>();
        assert_eq!(
            [steps(0), steps(1), steps(2), steps(3), steps(4)],
            [vec![], vec![4], vec![0, 4], vec![0, 1, 4], vec![0, 1, 2, 4]]
        );
    }

    proptest! {
        #[test]
        fn extremes_survive_and_the_limit_holds(
            values in proptest::collection::vec(any::<f64>(), 1..600), cap in 8usize..64, max in 8usize..64,
        ) {
            let points = series(&values);
            let (sketch, kept) = sketch(&points, cap);
            let shown = downsample(&kept, max);
            prop_assert!(shown.len() <= max);
            prop_assert!(shown.is_sorted_by_key(|point| point.step));
            prop_assert_eq!(sketch.count, values.len() as u64);
            for extreme in [sketch.min, sketch.max].into_iter().flatten() {
                prop_assert!(shown.iter().any(|point| point.value == extreme));
            }
            prop_assert_eq!(shown.first().map(|point| point.step), Some(0));
            prop_assert_eq!(shown.last().map(|point| point.step), Some(points.len() as i64 - 1));
            prop_assert_eq!(shown.iter().any(|point| point.value.is_nan()), values.iter().any(|value| value.is_nan()));
        }
    }
}
